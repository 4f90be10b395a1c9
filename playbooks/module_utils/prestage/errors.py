"""The one error of the prestage modules: a sentence that the operator reads in the step's details."""


class PrestageError(Exception):
    """Prestaging cannot go on; the message says what is wrong and what to do next."""
