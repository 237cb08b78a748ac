"""A change that would break who publishes events, or who reads changes, is told by name; others pass."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from contracts import generate
from scripts.compatibility import __main__ as command
from scripts.compatibility.breaks import breaks
from scripts.compatibility.shape import kinds

Change = Callable[[dict[str, Any]], Any]


def changed(change: Change) -> list[str]:
    """What is broken when today's document is changed so."""
    old = generate.asyncapi()
    new = copy.deepcopy(old)
    change(new["components"]["schemas"])
    return breaks(old, new)


def put(name: str, field: str, **rules: Any) -> Change:
    """A field of a schema gets these keywords."""
    return lambda schemas: schemas[name]["properties"].setdefault(field, {}).update(rules)


def require(name: str, field: str) -> Change:
    return lambda schemas: schemas[name].setdefault("required", []).append(field)


def drop(name: str, *fields: str) -> Change:
    return lambda schemas: [schemas[name]["properties"].pop(field) for field in fields]


def optional(name: str, field: str) -> Change:
    return lambda schemas: schemas[name]["required"].remove(field)


OPENED = "livecard.activity.opened: payload.data"
BREAKS: list[tuple[Change, str]] = [
    (require("OpenedData", "title"), f"{OPENED}.title: is now required"),
    (drop("OpenedData", "publisher"), f"{OPENED}.publisher: is no longer read"),
    (put("OpenedData", "title", maxLength=10), f"{OPENED}.title: maxLength is now 10"),
    (put("OpenedData", "title", type="string"), f"{OPENED}.title: null is no longer accepted"),
    (put("OpenedData", "template", enum=["complete"]), f"{OPENED}.template: ['participate'] are no longer"),
    (put("OpenedData", "appid", pattern="^wx"), f"{OPENED}.appid: has another pattern"),
    (put("OpenedData", "appid", minLength=2), f"{OPENED}.appid: minLength is now 2"),
    (put("OpenedData", "appid", enum=["wx1"]), f"{OPENED}.appid: only ['wx1'] are accepted"),
    (put("OpenedData", "notice", maximum=60), f"{OPENED}.notice: maximum is now 60"),
    (put("OpenedData", "notice", multipleOf=60), f"{OPENED}.notice: has another multipleOf"),
    (put("OpenedData", "appid", **{"not": {}}), f"{OPENED}.appid: string has other rules"),
    (put("CompletedData", "members", maxItems=10), "payload.data.members: maxItems is now 10"),
    (require("RoomData", "opengid"), f"{OPENED}.room.opengid: is now required"),
    (put("OpenedData", "participants", items={"type": "integer"}), f"{OPENED}.participants[]: string is no"),
    (
        put("ActivityClosedHeaders", "ce_id", maxLength=36),
        "mode): headers.ce_id: maxLength is now 36",
    ),
    (require("ActivityClosedHeaders", "ce_traceparent"), "headers.ce_traceparent: is now required"),
    (drop("CardDelivered", "calls"), "card.delivered: payload.data.calls: is gone"),
    (optional("CardDelivered", "calls"), "card.delivered: payload.data.calls: is no longer always there"),
    (put("CardDelivered", "calls", type=["integer", "null"]), "payload.data.calls: may now be null"),
    (put("CardDelivered", "members", items={"type": "object"}), "payload.data.members[]: may now be object"),
    (optional("DeadLetterHeaders", "livecard-reason"), "headers.livecard-reason: is no longer always there"),
    (
        put("CardDeliveredEvent", "source", const="/cards"),
        "card.delivered: payload.source: is no longer always '/livecard'",
    ),
    (put("CardDeliveredEvent", "specversion", const="2.0"), "specversion: is no longer always '1.0'"),
    (lambda schemas: schemas["EventRef"].update(properties={}), "payload.data.event.source: is gone"),
]


@pytest.mark.parametrize(("change", "told"), BREAKS, ids=[told for _, told in BREAKS])
def test_what_breaks_somebody_is_told_by_its_field(change: Change, told: str) -> None:
    assert any(told in each for each in changed(change)), changed(change)


GROWTH: list[Change] = [
    put("OpenedData", "colour", type="string"),
    put("OpenedData", "title", maxLength=10_000, description="longer", default="x"),
    put("OpenedData", "template", enum=["complete", "participate", "vote"]),
    put("OpenedData", "notice", type=["integer", "null", "string"]),
    optional("OpenedData", "expires_at"),
    put("CardDelivered", "colour", type="string"),
    require("CardFailed", "members"),
    put("ActivityChanged", "reason", enum=["opened", "something new"]),
    put("ActivityChanged", "previous", enum=["open"]),
]


@pytest.mark.parametrize("change", GROWTH)
def test_what_only_adds_breaks_nobody(change: Change) -> None:
    assert changed(change) == []


def test_a_topic_or_a_message_that_goes_is_told_and_a_nudge_is_ours_alone() -> None:
    old = generate.asyncapi()
    new = copy.deepcopy(old)
    new["channels"]["activityEvents"]["address"] = "events"
    del new["channels"]["activityEventsDead"], new["channels"]["cardNudges"]
    del new["channels"]["activityEvents"]["messages"]["participantAddedBinary"]
    del new["channels"]["activityChanges"]["messages"]["cardExpiring"]
    assert breaks(old, new) == [
        "activity.events: is now events",
        "livecard.participant.added (binary mode): is gone",
        "livecard.card.expiring: is gone",
        "activity.events.dead: is gone",
    ]


def test_another_content_type_is_told() -> None:
    old = generate.asyncapi()
    new = copy.deepcopy(old)
    new["components"]["messages"]["activityChanges.cardExpiring"]["contentType"] = "application/avro"
    assert breaks(old, new) == ["livecard.card.expiring: its content type is now application/avro"]


def test_alternatives_that_cannot_be_told_apart_are_not_guessed_at() -> None:
    texts = {"anyOf": [{"type": "string", "maxLength": 3}, {"type": "string", "pattern": "^a"}]}
    with pytest.raises(ValueError, match="two alternatives of the kind string"):
        kinds(texts, {})


def test_nothing_breaks_who_uses_the_last_release_beyond_what_was_decided() -> None:
    old = json.loads(command.RELEASED.read_text("utf-8"))
    assert command.verdict(old, generate.asyncapi(), command.accepted()) == []


def test_what_is_not_decided_and_what_need_not_be_are_both_told() -> None:
    old = generate.asyncapi()
    new = copy.deepcopy(old)
    require("OpenedData", "title")(new["components"]["schemas"])
    both = [
        f"{OPENED}.title: is now required",
        "livecard.activity.opened (binary mode): payload.title: is now required",
    ]
    wrong = command.verdict(old, new, {both[0]: "because"})
    assert len(wrong) == 1
    assert wrong[0].startswith(f"breaks who uses the last release: {both[1]}")
    assert command.verdict(old, old, {both[0]: "because"}) == [f"accepted, but no longer so: {both[0]}"]


def test_a_release_makes_todays_contracts_the_last_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    released, decided = tmp_path / "released.json", tmp_path / "accepted.toml"
    released.write_text(command.RELEASED.read_text("utf-8"), "utf-8")
    decided.write_text("# why\n", "utf-8")
    monkeypatch.setattr(command, "RELEASED", released)
    monkeypatch.setattr(command, "ACCEPTED", decided)
    monkeypatch.setattr(sys, "argv", ["compatibility"])
    assert command.main() == 1
    assert "accepted.toml" in capsys.readouterr().err
    decided.write_text('# why\n[[break]]\nwhat = ["a"]\nwhy = "b"\n', "utf-8")
    monkeypatch.setattr(sys, "argv", ["compatibility", "--release"])
    assert command.main() == 0
    monkeypatch.setattr(sys, "argv", ["compatibility"])
    assert command.main() == 0
    assert decided.read_text("utf-8") == "# why\n"
