"""The errors a person can act on."""


class HashcliError(Exception):
    """Something the user can put right. Printed as one or two lines, without a traceback.

    `problem` says what is wrong and with which input; `remedy`, if any, what to do about it.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


def reason_of(error: Exception) -> str:
    """Why something was skipped, without the path: what the system says in words, or the error's own message."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
