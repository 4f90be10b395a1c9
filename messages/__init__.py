"""Messages between the API, the coordinator and other publishers: commands, answers, resources."""
