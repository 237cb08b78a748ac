"""The commands of `livecard`: for operators, and one for each service. Errors say what to do and exit 1."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console

from services.cli.errors import CommandError
from services.runtime import logs
from services.runtime.environment import load, read
from services.runtime.error_text import error_text
from services.runtime.settings import Settings, SettingsError

app = typer.Typer(
    name="livecard",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
OUT = Console(highlight=False, soft_wrap=True)
ERR = Console(stderr=True, highlight=False, soft_wrap=True)


def _version(wanted: bool) -> None:
    if wanted:
        OUT.print(f"livecard {version('livecard')}")
        raise typer.Exit


@app.callback()
def livecard(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Keep the cards of WeChat's chat-tool mode true: from an event in Kafka to the right card."""


def _run(work: Coroutine[Any, Any, int | None], settings: Settings) -> None:
    """A command to its end. SIGTERM is heeded like Ctrl-C: what is under way is given up in order."""
    asked = [signal.SIGINT]

    def terminated(_number: int, _frame: FrameType | None) -> None:
        asked.append(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)  # asyncio's own takes its place
    signal.signal(signal.SIGTERM, terminated)
    logs.configure(settings, command=True)
    try:
        code = _said(work)
    except KeyboardInterrupt:
        raise typer.Exit(128 + asked[-1]) from None
    if code:
        raise typer.Exit(code)


def _serve(work: Coroutine[Any, Any, None], settings: Settings) -> None:
    """A service until it is asked to leave; its log is for machines."""
    from services.runtime.host import SIGNALS

    logs.configure(settings)
    try:
        _said(work)
    except KeyboardInterrupt:  # it was asked a third time
        raise typer.Exit(128 + signal.SIGINT) from None
    for number in SIGNALS:  # it has drained and is leaving: to be asked again changes nothing
        signal.signal(number, signal.SIG_IGN)


def _said(work: Coroutine[Any, Any, int | None]) -> int | None:
    """Run it; known failures become one clear message."""
    from services.gateway.keys import ApiKeysError
    from services.gateway.session_keys import SessionKeyError
    from services.kafka.admin import BrokerError
    from services.kafka.ports import BusUnavailable
    from services.runtime.host import ServiceDied
    from services.runtime.http import AddressError
    from services.runtime.tls import TlsError
    from services.store.ports import StoreRejected, StoreUnavailable
    from services.wechat.apps import AppsError

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(work)
    except (
        CommandError,
        StoreUnavailable,
        StoreRejected,
        BusUnavailable,
        BrokerError,
        AddressError,
        AppsError,
        ApiKeysError,
        SessionKeyError,
        TlsError,
        ServiceDied,
    ) as error:
        ERR.print(f"livecard: {logs.redact(error_text(error))}", markup=False)
        raise typer.Exit(1) from None


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _serve_kind(kind: str) -> None:
    from services.cli import processes

    settings = load()
    _serve(processes.serve_kind(kind, settings), settings)


@app.command()
def init(
    finish: Annotated[
        bool, typer.Option("--finish", help="Drop what only the release before needs, once it runs no more.")
    ] = False,
) -> None:
    """Migrate the database and create the topics. Safe to run again; run it before the services."""
    from services.cli import processes

    settings = load()
    _run(processes.init(settings, OUT, finish=finish), settings)


@app.command()
def lifecycle() -> None:
    """Serve: events from Kafka → states. Run one for every few partitions."""
    _serve_kind("lifecycle")


@app.command()
def clock() -> None:
    """Serve: due times → states. Run as many as you like."""
    _serve_kind("clock")


@app.command()
def dispatcher() -> None:
    """Serve: states → WeChat's cards, through setChatToolMsg."""
    _serve_kind("dispatcher")


@app.command()
def gateway() -> None:
    """Serve: the HTTP API. Creates activities, takes in what happened, tells how far everything is."""
    _serve_kind("gateway")


@app.command()
def simulator() -> None:
    """Serve: a stand-in for WeChat, with a page that shows the chat. For trying out and tests."""
    _serve_kind("simulator")


@app.command()
def up() -> None:
    """Serve: everything in one process. What is not set is embedded: Kafka, SQLite, WeChat's simulator."""
    from services.cli.up import up

    settings = load()
    _serve(up(settings, OUT), settings)


@app.command()
def demo(
    plain: Annotated[
        bool, typer.Option("--plain", help="Print lines instead of drawing a live picture.")
    ] = False,
) -> None:
    """Play a group task against the simulator, faults included.

    Exits 0 only when the ledger balances and every card shows what it should.
    """
    from services.cli.demo import run

    settings = load()
    _run(run(settings, OUT, plain=plain or not sys.stdout.isatty()), settings)


@app.command()
def show(
    activity_id: Annotated[
        str, typer.Argument(metavar="ACTIVITY_ID", help="The activity's id, as WeChat gave it.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show one activity: its card, who is owed, and its delivery. Says why it waits, and until when."""
    from services.cli import inspect

    settings = load()
    _run(inspect.show(settings, OUT, activity_id, as_json=as_json), settings)


@app.command()
def send(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="Events, or - for standard input.", allow_dash=True)
    ] = Path("-"),
    check: Annotated[bool, typer.Option("--check", help="Only check the events; send nothing.")] = False,
) -> None:
    """Send events to Kafka, from a file or standard input.

    They are JSON objects (CloudEvents), one a line or in an array. A missing specversion, id, source or
    time is filled in; the output says which.
    """
    from services.cli import send as sending

    settings = load()
    _run(sending.send(settings, OUT, ERR, path, check=check), settings)


@app.command()
def ledger(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Print the ledger: every event and every revision. Exits 1 when it does not balance."""
    from services.cli import inspect

    settings = load()
    _run(inspect.ledger(settings, OUT, as_json=as_json), settings)


@app.command()
def gates(
    open_: Annotated[
        list[str] | None, typer.Option("--open", metavar="APPID", help="Open this app's gate now.")
    ] = None,
    close: Annotated[
        list[str] | None,
        typer.Option(metavar="APPID", help="Close this app's gate: none of its cards is delivered."),
    ] = None,
    until: Annotated[
        str, typer.Option(metavar="TIME", help="With --close: until when, in RFC 3339, or as 90s, 30m, 2h, 3d.")
    ] = "",
    why: Annotated[str, typer.Option(metavar="TEXT", help="Why; with --close it is needed.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show which apps' gates are closed, until when and why. Opens or closes those named. Safe to run twice."""
    from services.cli import gates as keeping

    settings = load()
    wishes = keeping.Wishes(tuple(open_ or ()), tuple(close or ()), until, why)
    _run(keeping.gates(settings, OUT, ERR, wishes, as_json=as_json), settings)


@app.command()
def replay(
    reason: Annotated[
        list[str] | None, typer.Option(metavar="REASON", help="Only letters with this livecard-reason.")
    ] = None,
    activity: Annotated[
        list[str] | None, typer.Option(metavar="ACTIVITY_ID", help="Only letters about this activity.")
    ] = None,
    send: Annotated[bool, typer.Option("--send", help="Really send them; without it, only tell.")] = False,
) -> None:
    """Take dead letters back to activity.events. Tells what it would do; does it with --send.

    Safe to run twice.
    """
    from services.cli import replay as replaying

    settings = load()
    work = replaying.replay(settings, OUT, reasons=reason or [], activities=activity or [], send=send)
    _run(work, settings)


@app.command()
def redeliver(
    activity_ids: Annotated[
        list[str], typer.Argument(metavar="ACTIVITY_ID", help="Activities to try again.")
    ],
    why: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the action.")] = "",
) -> None:
    """Try again skipped members, and cards that were given up. Safe to run twice."""
    from services.cli import inspect

    settings = load()
    _run(inspect.redeliver(settings, OUT, activity_ids, why), settings)


@app.command()
def actions(
    limit: Annotated[int, typer.Option(min=1, max=10_000, metavar="N", help="So many at most.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what operators did last, newest first: who, what, why, and what came of it."""
    from services.cli import actions as acting

    settings = load()
    _run(acting.actions(settings, OUT, limit, as_json=as_json), settings)


@app.command()
def forget(
    name: Annotated[
        str, typer.Argument(metavar="OPENID", help="The person's openid, or one of his group_openids.")
    ],
    why: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the action.")] = "",
) -> None:
    """Erase one person: bindings, logins, members, waiting rows, outbox, dead letters. Safe to run again.

    Says what it erased, and what it cannot reach.
    """
    from services.cli import forget as forgetting

    settings = load()
    _run(forgetting.forget(settings, OUT, name, why), settings)


@app.command()
def key(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Who calls with it; part of its events' source.")
    ],
    scope: Annotated[
        list[str] | None,
        typer.Option(metavar="SCOPE", help="What it allows: read, write, rooms, operate. May be repeated."),
    ] = None,
    app_: Annotated[
        list[str] | None,
        typer.Option("--app", metavar="APPID", help="A mini program it is for. May be repeated."),
    ] = None,
) -> None:
    """Make a key of the gateway's API and print it once. Its hash goes to LIVECARD_API_KEYS_FILE."""
    from services.cli import key as making

    settings = load()
    try:
        making.make(settings, name, scope or [], app_ or [], out=OUT, err=ERR)
    except CommandError as error:
        ERR.print(f"livecard: {error}", markup=False)
        raise typer.Exit(1) from None


@app.command()
def settings(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List every setting: value, unit, default and meaning. Secrets show as ***.

    Wrong ones are marked, each mistake is printed, and the exit code is 1.
    """
    from services.cli import inspect

    found = read()
    inspect.print_settings(found, OUT, as_json=as_json)
    if found.mistakes:
        raise SettingsError(found.report())


def run() -> None:
    """Run what the command line asks for."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a title is Chinese, and the terminal perhaps Latin-1
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except SettingsError as error:
        ERR.print(f"livecard: the settings are wrong\n{error}", markup=False)
        sys.exit(1)
