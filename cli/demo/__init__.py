"""`prestager demo`: a controller and a fleet on this machine, prestaged with the commands and the API of every day."""
