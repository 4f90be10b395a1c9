"""Transport of messages between processes or within one; knows no command and no run."""
