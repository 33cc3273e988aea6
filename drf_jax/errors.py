"""The one exception that the command line turns into a one-line message."""


class UserError(ValueError):
    """Something the user gave cannot be used; the message names it and says what is allowed.

    The command line prints the message without a traceback and exits with code 2.
    """
