"""What travels between the API, the coordinator and foreign publishers: commands, answers, resources."""
