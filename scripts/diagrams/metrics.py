"""What each metric of a process means, from the registry that a process exports."""

from __future__ import annotations

from typing import Any, Final

from scripts.diagrams.languages import Say, english
from scripts.diagrams.mermaid import markdown
from services.runtime.metrics import Metrics
from services.runtime.series import SERIES

FEW: Final = 10
"""So many values of a label are listed."""


def tables(say: Say = english) -> str:
    """A table for each section."""
    head = [say(words) for words in ("metric", "kind", "labels", "means")]
    return "\n\n".join(
        f"### {say(heading)}\n\n{markdown(head, [_row(each, say) for each in families])}"
        for heading, families in Metrics().sections.items()
    )


def stored_name(family: Any) -> str:
    """Its name as Prometheus stores it; a histogram's parts add `_bucket`, `_sum` and `_count`."""
    name: str = family._name  # noqa: SLF001 (the client tells it nowhere else)
    return f"{name}_total" if family._type == "counter" else name  # noqa: SLF001 (the same)


def _row(family: Any, say: Say) -> list[str]:
    names = family._labelnames  # noqa: SLF001 (the client tells them nowhere else)
    known = SERIES.get(family._name, [])  # noqa: SLF001 (the same)
    labels = [_label(name, {values[place] for values in known}) for place, name in enumerate(names)]
    means = say(family._documentation)  # noqa: SLF001 (the same)
    return [f"`{stored_name(family)}`", say(family._type), "; ".join(labels), means]  # noqa: SLF001 (the same)


def _label(name: str, values: set[str]) -> str:
    values = values - {""}
    if not 0 < len(values) <= FEW:
        return f"`{name}`"
    return f"`{name}`: " + " ".join(f"`{value}`" for value in sorted(values))
