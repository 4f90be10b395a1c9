"""Objects that cross a process border: commands, answers, events, models of requests, JSON of rows, names of queues."""
