"""RFC 3339 in, µs inside, RFC 3339 out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.times import DAY, EARLIEST, LATEST, SECOND, format_rfc3339, parse_rfc3339

EIGHT = 1_795_248_000 * SECOND  # 2026-11-21T08:00:00Z


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("2026-11-21T08:00:00Z", EIGHT),
        ("2026-11-21t08:00:00z", EIGHT),
        ("2026-11-21T16:00:00+08:00", EIGHT),
        ("2026-11-21T02:30:00-05:30", EIGHT),
        ("2026-11-21T08:00:00-00:00", EIGHT),
        ("2026-11-21T08:00:00.5Z", EIGHT + 500_000),
        ("2026-11-21T08:00:00.123456Z", EIGHT + 123_456),
        ("2026-11-21T08:00:00.123456999Z", EIGHT + 123_456),
        ("2026-11-21T08:00:00.0000009Z", EIGHT),
        ("2026-11-21T07:59:60Z", EIGHT),
        ("2000-01-01T00:00:00Z", EARLIEST),
        ("2100-12-31T23:59:59.999999Z", LATEST),
        ("2000-01-01T00:00:00+00:01", EARLIEST - 60 * SECOND),
        ("2100-12-31T23:59:60Z", LATEST + 1),
        ("2099-12-31T23:59:59-12:00", parse_rfc3339("2100-01-01T11:59:59Z")),
    ],
)
def test_a_legal_time_is_read_to_the_microsecond(text, us):
    assert parse_rfc3339(text) == us


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-21",
        "2026-11-21T08:00:00",
        "2026-11-21 08:00:00Z",
        "2026-11-21T08:00Z",
        "2026-11-21T08:00:00,5Z",
        "2026-11-21T08:00:00.Z",
        "2026-11-21T08:00:00+08",
        "2026-11-21T08:00:00+0800",
        "2026-11-21T08:00:00+08:00:30",
        "2026-11-21T08:00:00+08:60",
        "2026-11-21T08:00:00+24:00",
        "20261121T080000Z",
        "2026-W47-6T08:00:00Z",
        "2026-02-29T08:00:00Z",
        "2026-13-01T08:00:00Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T08:00:61Z",
        "1999-12-31T23:59:59Z",
        "1999-12-31T23:59:59-00:01",
        "2101-01-01T00:00:00Z",
        "2101-01-01T00:00:00+00:01",
        "0001-01-01T00:00:00+23:00",
        "9999-12-31T23:59:59-23:00",
        "\u0662026-11-21T08:00:00Z",
        "２０２６-11-21T08:00:00Z",
        "2026-11-21T08:00:00Z\n",
        " 2026-11-21T08:00:00Z",
        "2026-11-21T08:00:00." + "1" * 10_000 + "Z",
        "1795248000",
    ],
)
def test_an_illegal_time_raises_value_error_with_words(text):
    with pytest.raises(ValueError, match=r"^not .*[A-Za-z]"):
        parse_rfc3339(text)


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (EIGHT, "2026-11-21T08:00:00Z"),
        (EIGHT + 1, "2026-11-21T08:00:00.000001Z"),
        (EIGHT + 500_000, "2026-11-21T08:00:00.5Z"),
        (EIGHT + 120_000, "2026-11-21T08:00:00.12Z"),
        (0, "1970-01-01T00:00:00Z"),
    ],
)
def test_a_time_is_written_in_utc_with_no_needless_digits(us, text):
    assert format_rfc3339(us) == text


@given(st.integers(EARLIEST + DAY, LATEST - DAY), st.integers(-23 * 60, 23 * 60))
def test_every_instant_survives_any_offset(us, minutes):
    assert parse_rfc3339(format_rfc3339(us)) == us
    there = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us, minutes=minutes)
    sign, (hours, rest) = ("-" if minutes < 0 else "+"), divmod(abs(minutes), 60)
    local = there.replace(tzinfo=None).isoformat() + f"{sign}{hours:02}:{rest:02}"
    assert parse_rfc3339(local) == us


@given(st.text())
def test_any_text_is_read_or_refused(text):
    try:
        us = parse_rfc3339(text)
    except ValueError:
        return
    assert EARLIEST - DAY < us < LATEST + DAY
