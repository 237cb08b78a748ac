"""What a command tells a person instead of a traceback."""


class CommandError(Exception):
    """Its text goes to stderr as it is; exit code 1."""
