"""What an operator can set, and the forms of it."""
