"""The line: from an event in Kafka to the card in the chat."""

from __future__ import annotations

from contracts.topics import Topics
from scripts.diagrams.svg import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    SOFT,
    arrow,
    cylinder,
    labelled,
    picture,
    words,
)

WIDTH, HEIGHT = 1130, 424


def draw() -> str:
    """The picture for the README."""
    topics = Topics()
    boxes = [
        labelled(10, 170, 140, 64, colours=GREY, lines=["other services", "what happened"]),
        labelled(184, 170, 150, 64, colours=AMBER, lines=[topics.events, "Kafka"], radius=32),
        labelled(380, 138, 150, 56, colours=BLUE, lines=["lifecycle", "events → states"]),
        labelled(380, 212, 150, 56, colours=BLUE, lines=["clock", "due times → states"]),
        cylinder(586, 116, 190, 190, GREEN),
        words(681, 166, "SQL store", size=15, bold=True),
        words(681, 192, "desired: states, members", size=12, colour=SOFT),
        words(681, 212, "delivered: what WeChat", size=12, colour=SOFT),
        words(681, 228, "has confirmed", size=12, colour=SOFT),
        words(681, 252, "inbox · due times", size=12, colour=SOFT),
        words(681, 272, "outbox · gates · ledger", size=12, colour=SOFT),
        labelled(844, 170, 130, 64, colours=BLUE, lines=["dispatcher", "states → WeChat"]),
        labelled(1016, 170, 90, 64, colours=GREEN, lines=["WeChat", "the card"]),
        labelled(586, 24, 190, 48, colours=BLUE, lines=["outbox relay", "in all three services"]),
        labelled(822, 18, 174, 60, colours=AMBER, lines=[topics.changes, "Kafka"], radius=30),
        words(1020, 53, "other services", size=13, anchor="start"),
        labelled(606, 346, 150, 60, colours=AMBER, lines=[topics.nudges, "Kafka, best effort"], radius=30),
    ]
    arrows = [
        arrow("M150 202H182"),
        arrow("M334 192 C352 186 356 168 378 166"),
        arrow("M530 166H584"),
        arrow("M530 240H584", both=True),
        arrow("M776 202H842", both=True),
        arrow("M974 202H1014"),
        arrow("M681 114V74"),
        arrow("M776 48H820"),
        arrow("M996 48H1014"),
        arrow("M455 268 C455 350 520 376 604 376", dotted=True),
        arrow("M379 182 C340 260 380 384 604 384", dotted=True),
        arrow("M756 376 C850 376 909 340 909 236", dotted=True),
    ]
    notes = [
        words(557, 156, "1 tx", size=11, colour=SOFT),
        words(809, 192, "claim,", size=11, colour=SOFT),
        words(809, 220, "settle", size=11, colour=SOFT),
        words(486, 330, "look at this activity", size=12, colour=SOFT, anchor="start"),
        words(905, 330, "a poll heals lost ones", size=12, colour=SOFT, anchor="start"),
    ]
    return picture(WIDTH, HEIGHT, "From an event in Kafka to the card in the chat", [*arrows, *boxes, *notes])
