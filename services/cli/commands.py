"""The commands of `livecard`: one for each service, and those that look. Errors say what to do and exit 1."""

from __future__ import annotations

import sys
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from services.cli.errors import CommandError
from services.cli.operating import operators
from services.cli.running import ERR, OUT, run_command, serve
from services.runtime.environment import load, read
from services.runtime.settings import SettingsError

app = typer.Typer(
    name="livecard",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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


def _serve_kind(kind: str) -> None:
    from services.cli import processes

    settings = load()
    serve(processes.serve_kind(kind, settings), settings)


@app.command()
def init(
    finish: Annotated[
        bool, typer.Option("--finish", help="Drop what only the release before needs, once it runs no more.")
    ] = False,
) -> None:
    """Migrate the database and create the topics. Safe to run again; run it before the services."""
    from services.cli import processes

    settings = load()
    run_command(processes.init(settings, OUT, finish=finish), settings)


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
    serve(up(settings, OUT), settings)


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
    run_command(run(settings, OUT, plain=plain or not sys.stdout.isatty()), settings)


@app.command()
def show(
    activity_id: Annotated[
        str, typer.Argument(metavar="ACTIVITY_ID", help="The activity's id, as WeChat gave it.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    rid: Annotated[
        bool,
        typer.Option("--rid", help="Ask WeChat about the last call it refused: a text for its support."),
    ] = False,
) -> None:
    """Show one activity: its card, who is owed, and its delivery. Says why it waits, and until when."""
    settings = load()
    if rid:
        from services.cli import refused

        run_command(refused.tell(settings, OUT, activity_id), settings)
    else:
        from services.cli import inspect

        run_command(inspect.show(settings, OUT, activity_id, as_json=as_json), settings)


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
    run_command(sending.send(settings, OUT, ERR, path, check=check), settings)


@app.command()
def ledger(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Print the ledger: every event and every revision. Exits 1 when it does not balance."""
    from services.cli import inspect

    settings = load()
    run_command(inspect.ledger(settings, OUT, as_json=as_json), settings)


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


app.registered_commands += operators.registered_commands


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
