"""What a command tells a person instead of a traceback."""


class CommandError(Exception):
    """Told as it is, on stderr; exit code 1."""
