"""The one exception of a user's mistake."""


class InputError(ValueError):
    """A mistake in what the user gave: what was wanted, what came, what to do.

    The command line prints its message and ends with exit code 2; any other exception is a fault of dnalm.
    """
