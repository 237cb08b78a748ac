"""What a command tells a person instead of a traceback."""

from services.runtime.error_text import Explained


class CommandError(Explained):
    """Its text goes to stderr as it is; exit code 1."""
