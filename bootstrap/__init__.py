"""Everything is built here from the settings: the one place that knows all parts. Nothing connects before its start."""
