"""HTTP in, message out, reply back: parses, authenticates, authorises, renders; decides nothing."""
