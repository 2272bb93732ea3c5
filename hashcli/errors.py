"""The errors a person can act on."""


class HashcliError(Exception):
    """Something the user can put right. Printed as one or two lines, without a traceback.

    `problem` says what is wrong and with which input; `remedy`, if any, what to do about it.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy
