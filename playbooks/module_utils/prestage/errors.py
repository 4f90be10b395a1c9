"""The one error of the prestage modules: a sentence that the operator reads in the step's details."""


class PrestageError(Exception):
    """
    Prestaging cannot go on; the message says what is wrong and what to do next.

    Attributes:
        failure_class: The kind of trouble, by a class of failures as Prestager knows them: "space", "checksum",
            "registry", "version", "controller" (its content, or another run that stands in the way), "proof" (content
            that an earlier run had staged), or "playbook".
    """

    def __init__(self, message: str, failure_class: str = "playbook") -> None:
        super().__init__(message)
        self.failure_class = failure_class
