"""The `livecard` command as a person meets it: help, clear errors, checking events before sending."""

import json
import socket
from pathlib import Path

import pytest

from services.cli.demo import staged
from services.runtime.settings import OF_THE_BROKER, Secret, Settings
from tests.cli.running import livecard

OPENED = {
    "type": "livecard.activity.opened",
    "subject": "a-1",
    "data": {"appid": "wx1", "template": "complete", "expires_at": "2099-01-01T00:00:00Z"},
}
COMPLETED = {"type": "livecard.participant.completed", "subject": "a-1", "data": {"members": ["gp-1"]}}


def test_help_names_every_command() -> None:
    """A stranger sees what there is, in words."""
    code, printed = livecard("--help")
    assert code == 0
    for command in [
        "init",
        "up",
        "demo",
        "lifecycle",
        "clock",
        "dispatcher",
        "simulator",
        "show",
        "send",
        "ledger",
        "gates",
        "redeliver",
        "replay",
        "settings",
    ]:
        assert f"  {command} " in printed, command


def test_settings_as_json() -> None:
    """For programs: variable, unit, default, meaning."""
    code, printed = livecard("settings", "--json", LIVECARD_COALESCE="2")
    rows = {row["variable"]: row for row in json.loads(printed)}
    assert code == 0
    assert rows["LIVECARD_COALESCE"]["value"] == "2"
    assert rows["LIVECARD_COALESCE"]["default"] == "1"


def test_wrong_settings_are_one_clear_error() -> None:
    """No traceback."""
    code, printed = livecard("ledger", LIVECARD_COALESCE="x")
    assert code == 1
    assert "LIVECARD_COALESCE" in printed
    assert "`livecard settings`" in printed
    assert "Traceback" not in printed


def test_the_table_of_settings_shows_when_they_are_wrong() -> None:
    """It is what the mistakes' message sends people to: the wrong ones are marked, and told below it."""
    code, printed = livecard("settings", LIVECARD_SWEEP="5s", LIVECARD_LEASE="5", LIVECARD_TICK="0.25")
    rows, _, told = printed.partition("livecard: the settings are wrong")
    marked = [line.split()[:3] for line in rows.splitlines() if "(wrong)" in line]
    assert code == 1
    assert marked == [["LIVECARD_SWEEP", "5s", "(wrong)"], ["LIVECARD_LEASE", "5", "(wrong)"]]
    assert "LIVECARD_SWEEP: '5s' does not do: write plain decimal seconds, such as 5 or 0.5" in told
    assert "LIVECARD_LEASE must be longer than LIVECARD_CALL_DEADLINE" in told


def test_a_table_in_a_pipe_is_whole() -> None:
    """One line a row, nothing folded or cut, however long."""
    path = "/" + "long/" * 60
    code, printed = livecard("settings", LIVECARD_APPS_FILE=path, COLUMNS="80")
    line = next(line for line in printed.splitlines() if line.startswith("LIVECARD_APPS_FILE"))
    assert code == 0
    assert path in line
    assert line.endswith("nobody else may read it")
    assert len([line for line in printed.splitlines() if not line.startswith("LIVECARD_")]) == 1


@pytest.mark.parametrize("form", ["lines", "array", "one"])
def test_events_are_checked_in_every_form(form: str) -> None:
    """JSON lines, an array, or a single object; what is missing is filled in, and told."""
    events = [OPENED] if form == "one" else [OPENED, COMPLETED]
    text = (
        "\n".join(map(json.dumps, events))
        if form == "lines"
        else json.dumps(events if form == "array" else OPENED)
    )
    code, printed = livecard("send", "--check", "-", stdin=text)
    assert code == 0, printed
    assert f"{len(events)} events are right" in printed
    assert "filled in" in printed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there is no event in the input"),
        ("{]", "line 1 is not JSON"),
        ("[1]", "event 1: an event is a JSON object"),
        (json.dumps({**COMPLETED, "data": {"members": []}}), "event 1: invalid: data.members"),
        (json.dumps({**COMPLETED, "type": "livecard.nope"}), "event 1: unknown_type"),
        (json.dumps(OPENED) + "\n" + json.dumps({**COMPLETED, "subject": 1}), "line 2: malformed: subject"),
    ],
)
def test_wrong_events_are_told_and_nothing_is_sent(text: str, words: str) -> None:
    """Each with where it stands and what is wrong."""
    code, printed = livecard("send", "-", stdin=text, LIVECARD_KAFKA="127.0.0.1:1")
    assert code == 1
    assert words in printed
    assert "Traceback" not in printed


def test_a_terminal_that_lacks_letters_shows_them_escaped() -> None:
    """Titles are Chinese; ASCII is no reason for a traceback."""
    code, printed = livecard("settings", LIVECARD_APPS_FILE="报名.json", PYTHONIOENCODING="ascii")
    assert (code, "\\u62a5\\u540d.json" in printed) == (0, True), printed


def test_a_file_that_is_not_there() -> None:
    """Says so."""
    code, printed = livecard("send", "--check", "nowhere.json")
    assert code == 1
    assert "cannot read nowhere.json" in printed


@pytest.mark.parametrize(
    ("arguments", "settings", "words"),
    [
        (["send", "-"], {}, ["LIVECARD_KAFKA is not set"]),
        (["lifecycle"], {}, ["LIVECARD_KAFKA is not set", "livecard up"]),
        (["init"], {}, ["LIVECARD_KAFKA is not set"]),
        (["ledger"], {}, ["livecard init", "LIVECARD_DATABASE is not set", "livecard.sqlite3"]),
        (
            ["replay", "--reason", "typo"],
            {"LIVECARD_KAFKA": "127.0.0.1:1"},
            ["no such reason: typo", "unprocessable"],
        ),
        (["replay"], {"LIVECARD_KAFKA": "127.0.0.1:1"}, ["127.0.0.1:1", "Connection refused"]),
        (["redeliver", "a-1"], {}, ["livecard init"]),
        (["gates"], {}, ["livecard init"]),
        (["redeliver", "--verdict", "typo"], {}, ["with typo", "unknown_activity"]),
        (["quota"], {}, ["LIVECARD_APPS_FILE", "LIVECARD_APPS"]),
        (["show", "a-1"], {"LIVECARD_DATABASE": "mysql://db/x"}, ["postgresql+asyncpg://"]),
        (
            ["ledger"],
            {"LIVECARD_DATABASE": "postgresql+asyncpg://me:canary@127.0.0.1:1/x"},
            ["cannot be reached", "127.0.0.1:1", "LIVECARD_DATABASE"],
        ),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path, arguments: list[str], settings: dict[str, str], words: list[str]
) -> None:
    """A broker that is not there, a database that was not migrated: one clear message, exit 1."""
    code, printed = livecard(*arguments, stdin=json.dumps(OPENED), XDG_STATE_HOME=str(tmp_path), **settings)
    assert code == 1
    assert "Traceback" not in printed
    assert "canary" not in printed
    for word in words:
        assert word in printed, printed


@pytest.mark.parametrize(
    "command", ["init", "lifecycle", "clock", "dispatcher", "up", "rewind", "replay --send"]
)
def test_a_real_broker_wants_a_database_that_is_named(tmp_path: Path, command: str) -> None:
    """A company's events are not for a file in a home folder; no such file is made."""
    code, printed = livecard(*command.split(), LIVECARD_KAFKA="127.0.0.1:1", XDG_STATE_HOME=str(tmp_path))
    assert code == 1
    assert printed.startswith("livecard: LIVECARD_DATABASE is not set, though LIVECARD_KAFKA names a broker")
    assert "postgresql+asyncpg://" in printed
    assert list(tmp_path.iterdir()) == []
    meant = printed.rpartition("LIVECARD_DATABASE=")[2].strip()
    assert meant == f"sqlite+aiosqlite:///{tmp_path}/livecard/livecard.sqlite3"
    code, printed = livecard("init", LIVECARD_KAFKA="127.0.0.1:1", LIVECARD_DATABASE=meant)
    assert f"database: {meant} is up to date" in printed


@pytest.mark.parametrize(
    "command", ["ledger", "show a-1", "redeliver a-1", "gates", "actions", "jobs", "forget o-1"]
)
def test_a_command_makes_no_database(tmp_path: Path, command: str) -> None:
    """A mistyped path leaves nothing behind; only `init` and `up` make a file, and its folder."""
    database = f"sqlite+aiosqlite:///{tmp_path}/mistyped/livecard.sqlite3"
    code, printed = livecard(*command.split(), LIVECARD_DATABASE=database)
    assert code == 1
    assert printed.startswith("livecard: there is no such file: run livecard init; asked was")
    assert database in printed
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_a_clear_error(tmp_path: Path) -> None:
    """It names the address and the setting."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, printed = livecard("simulator", LIVECARD_HTTP=f"127.0.0.1:{port}", XDG_STATE_HOME=str(tmp_path))
    assert code == 1
    assert f"127.0.0.1:{port} is in use" in printed
    assert "LIVECARD_HTTP" in printed


@pytest.mark.parametrize("taken", ["LIVECARD_HTTP", "LIVECARD_SIMULATOR_HTTP"])
def test_up_promises_nothing_before_it_serves(tmp_path: Path, taken: str) -> None:
    """Where its port is in use it says so, and nothing else."""
    with socket.socket() as socket_:
        socket_.bind(("127.0.0.1", 0))
        socket_.listen()
        port = socket_.getsockname()[1]
        free = {"LIVECARD_HTTP": "127.0.0.1:0", "LIVECARD_SIMULATOR_HTTP": "127.0.0.1:0"}
        settings = {**free, taken: f"127.0.0.1:{port}", "XDG_STATE_HOME": str(tmp_path)}
        code, printed = livecard("up", **settings)
    assert code == 1
    assert f"127.0.0.1:{port}" in printed
    assert "send it an event" not in printed


SASL = {
    "LIVECARD_KAFKA_SECURITY": "SASL_SSL",
    "LIVECARD_KAFKA_SASL_MECHANISM": "PLAIN",
    "LIVECARD_KAFKA_SASL_PLAIN_USERNAME": "me",
    "LIVECARD_KAFKA_SASL_PLAIN_PASSWORD": "canary",
}


def test_up_with_security_and_no_broker_is_refused(tmp_path: Path) -> None:
    """The embedded broker speaks plain text; waiting for its TLS would never end."""
    code, printed = livecard("up", **SASL, XDG_STATE_HOME=str(tmp_path))
    assert code == 1
    assert "LIVECARD_KAFKA_SECURITY=SASL_SSL is set but LIVECARD_KAFKA is not" in printed
    assert "canary" not in printed


def test_the_demo_takes_nothing_from_a_shell_of_production(tmp_path: Path) -> None:
    """Neither broker, nor what lets one in there, nor database, nor apps."""
    production = Settings(
        kafka="kafka:9092",
        kafka_security="SASL_SSL",
        kafka_sasl_mechanism="PLAIN",
        kafka_sasl_plain_username="me",
        kafka_sasl_plain_password=Secret("canary"),
        kafka_ssl_cafile="ca.pem",
        kafka_ssl_certfile="me.pem",
        kafka_ssl_keyfile="me.key",
        database="postgresql+asyncpg://db/livecard",
        apps_file="apps.json",
    )
    demo = staged(production, tmp_path)
    assert [name for name in OF_THE_BROKER if getattr(demo, name) != getattr(Settings(), name)] == []
    assert str(tmp_path) in demo.database
    assert demo.apps_file == ""
