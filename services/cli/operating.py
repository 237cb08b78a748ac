"""The commands of `livecard` with which the person on call acts. Errors say what to do and exit 1."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.running import ERR, OUT, run_command
from services.runtime.environment import load

operators = typer.Typer()


@operators.command()
def gates(
    open_: Annotated[
        list[str] | None, typer.Option("--open", metavar="APPID", help="Open this app's gate now.")
    ] = None,
    close: Annotated[
        list[str] | None,
        typer.Option(metavar="APPID", help="Close this app's gate: none of its cards is delivered."),
    ] = None,
    until: Annotated[
        str,
        typer.Option(metavar="TIME", help="With --close: until when, in RFC 3339, or as 90s, 30m, 2h, 3d."),
    ] = "",
    why: Annotated[str, typer.Option(metavar="TEXT", help="Why; with --close it is needed.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show which apps' gates are closed, until when and why. Opens or closes some.

    Safe to run twice.
    """
    from services.cli import gates as keeping

    settings = load()
    wishes = keeping.Wishes(tuple(open_ or ()), tuple(close or ()), until, why)
    run_command(keeping.gates(settings, OUT, ERR, wishes, as_json=as_json), settings)


@operators.command()
def quota(
    app_: Annotated[
        list[str] | None, typer.Option("--app", metavar="APPID", help="Only this app. May be repeated.")
    ] = None,
) -> None:
    """Ask WeChat what is left of today's calls. Says how long it lasts.

    Of each app that the apps file names. It asks with the app's own token.
    """
    from services.cli import quota as asking

    settings = load()
    run_command(asking.quota(settings, OUT, app_ or []), settings)


@operators.command()
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
    run_command(work, settings)


@operators.command()
def rewind(
    to: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="To this time, in RFC 3339, not to an hour before the last event that the database knows.",
        ),
    ] = "",
    go: Annotated[bool, typer.Option("--go", help="Really do it; without it, only tell.")] = False,
    why: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the action.")] = "",
) -> None:
    """Have activity.events read again after a restore from a backup.

    Sets the lifecycles' group back to before what the database lost; what it knows already counts once. Stop
    the lifecycles first. Safe to run twice.
    """
    from services.cli import rewind as rewinding

    settings = load()
    run_command(rewinding.rewind(settings, OUT, to=to, go=go, why=why), settings)


_Apps = Annotated[
    list[str] | None, typer.Option("--app", metavar="APPID", help="Filter: of this app. May be repeated.")
]
_Room = Annotated[str, typer.Option(metavar="ID", help="Filter: in this room (opengid, open_single_roomid).")]
_After = Annotated[str, typer.Option(metavar="TIME", help="Filter: opened then or later, in RFC 3339.")]
_Before = Annotated[str, typer.Option(metavar="TIME", help="Filter: opened before, in RFC 3339.")]
_All = Annotated[bool, typer.Option("--all", help="Filter: everything.")]
_Go = Annotated[bool, typer.Option("--go", help="Really do it; with a filter, only tell how many match.")]
_Why = Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the action. A job needs it.")]


@operators.command()
def redeliver(  # noqa: PLR0917 (Typer's options are arguments)
    activity_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ACTIVITY_ID]...", help="Activities to try again.")
    ] = None,
    app_: _Apps = None,
    room: _Room = "",
    verdict: Annotated[
        str,
        typer.Option(
            metavar="VERDICT",
            help="Filter: given up with it, such as rejected; not cards that only skipped members.",
        ),
    ] = "",
    opened_after: _After = "",
    opened_before: _Before = "",
    everything: _All = False,
    go: _Go = False,
    why: _Why = "",
) -> None:
    """Try again skipped members, and cards that were given up. Safe to run twice.

    Those named, or all that match a filter: then it tells how many, and does it with --go, as a job.
    """
    from services.cli import jobs as working

    settings = load()
    chosen = working.Chosen(
        tuple(activity_ids or ()),
        tuple(app_ or ()),
        room,
        verdict,
        opened_after,
        opened_before,
        everything=everything,
        go=go,
        why=why,
    )
    run_command(working.redeliver(settings, OUT, chosen), settings)


@operators.command()
def close(  # noqa: PLR0917 (Typer's options are arguments)
    activity_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ACTIVITY_ID]...", help="Activities to end.")
    ] = None,
    app_: _Apps = None,
    room: _Room = "",
    opened_after: _After = "",
    opened_before: _Before = "",
    everything: _All = False,
    go: _Go = False,
    why: _Why = "",
) -> None:
    """End activities: those named, or all that match a filter. No way back.

    With a filter it tells how many match, and does it with --go, as a job.
    """
    from services.cli import jobs as working

    settings = load()
    chosen = working.Chosen(
        tuple(activity_ids or ()),
        tuple(app_ or ()),
        room,
        "",
        opened_after,
        opened_before,
        everything=everything,
        go=go,
        why=why,
    )
    run_command(working.close(settings, OUT, chosen), settings)


@operators.command()
def jobs(
    stop: Annotated[str, typer.Option(metavar="JOB", help="Stop this one; what is done stays done.")] = "",
    resume: Annotated[str, typer.Option(metavar="JOB", help="Go on with this one.")] = "",
    why: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the action.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show, stop and go on with the jobs of redeliver and close."""
    from services.cli import jobs as working

    settings = load()
    run_command(working.jobs(settings, OUT, stop, resume, why, as_json=as_json), settings)


@operators.command()
def actions(
    limit: Annotated[int, typer.Option(min=1, max=10_000, metavar="N", help="So many at most.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what operators did last: who, what, why."""
    from services.cli import actions as acting

    settings = load()
    run_command(acting.actions(settings, OUT, limit, as_json=as_json), settings)


@operators.command()
def forget(
    name: Annotated[
        str, typer.Argument(metavar="OPENID", help="The person's openid, or one of his group_openids.")
    ],
    why: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the action.")] = "",
) -> None:
    """Erase one person from everything that is kept. Says what it erased.

    Bindings, logins, members, waiting rows, outbox, dead letters; and says what it cannot reach. Safe to run
    again.
    """
    from services.cli import forget as forgetting

    settings = load()
    run_command(forgetting.forget(settings, OUT, name, why), settings)
