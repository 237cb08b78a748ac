"""What a person is told of an error that has no words of its own."""

from __future__ import annotations


def words(error: BaseException) -> str:
    """Its text; where that is, or ends with, nothing but the name of a Python class, words instead."""
    text, cause = str(error), error.__cause__
    if not text:
        return (
            "no answer in time" if isinstance(error, TimeoutError) else f"it failed ({type(error).__name__})"
        )
    if cause is not None and not str(cause) and text.endswith(f": {type(cause).__name__}"):
        return text.removesuffix(type(cause).__name__) + words(cause)
    return text
