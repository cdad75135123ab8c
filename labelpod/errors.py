"""The one error that users see."""


class DeployError(Exception):
    """Something the user can fix. Caught once, in cli.

    Args:
        message: one line: what was wrong, with the value that was.
        remedy: one line: the command to type or the edit to make.

    """

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
