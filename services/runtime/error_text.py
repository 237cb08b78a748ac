"""The text of an error for people, also where the error has none of its own."""

from __future__ import annotations


class Explained(Exception):
    """A failure that is known: its text, for people, says what to do, and no traceback is told."""


def error_text(error: BaseException) -> str:
    """Its text; where that is, or ends with, nothing but the name of a Python class, words instead."""
    text, cause = str(error), error.__cause__
    if not text:
        return (
            "no answer in time" if isinstance(error, TimeoutError) else f"it failed ({type(error).__name__})"
        )
    if cause is not None and not str(cause) and text.endswith(f": {type(cause).__name__}"):
        return text.removesuffix(type(cause).__name__) + error_text(cause)
    return text
