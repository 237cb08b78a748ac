"""Every setting: its variable `LIVECARD_…`, unit, default and meaning, in one table (design.md §7).

`services.runtime.environment` reads them. Durations are plain decimal seconds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta

PREFIX: Final = "LIVECARD_"


class SettingsError(Exception):
    """Something in the environment is wrong; the text names each variable and what it should be."""


class Secret(str):
    """A string that never prints itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def _about(text: str, unit: str = "", **limits: Any) -> Meta:
    return Meta(description=text, extra={"unit": unit}, **limits)


def _secret(text: str) -> Meta:
    return Meta(description=text, extra={"unit": "", "secret": True})


LONGEST = 3_153_600_000.0
"""Seconds, a hundred years: more than anybody means, and its µs fit a BIGINT with room for sums."""


def _seconds(text: str, *, gt: float = 0.0) -> Meta:
    return _about(text, "seconds", gt=gt, le=LONGEST)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one process. Field `x` is the variable `LIVECARD_X`."""

    kafka: Annotated[
        str, _about("Kafka bootstrap servers, host:port separated by commas; empty: embedded (up, demo)")
    ] = ""
    kafka_security: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], _about("security_protocol towards Kafka")
    ] = "PLAINTEXT"
    kafka_sasl_mechanism: Annotated[
        Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], _about("sasl_mechanism towards Kafka")
    ] = ""
    kafka_sasl_plain_username: Annotated[str, _about("sasl_plain_username towards Kafka")] = ""
    kafka_sasl_plain_password: Annotated[str, _secret("sasl_plain_password towards Kafka")] = ""
    kafka_sasl_plain_password_file: Annotated[
        str, _about("file with that password instead, re-read on change; nobody else may read it")
    ] = ""
    kafka_ssl_cafile: Annotated[
        str, _about("file of the authorities that sign the brokers' certificates (PEM)")
    ] = ""
    kafka_ssl_certfile: Annotated[str, _about("our own certificate towards Kafka (PEM)")] = ""
    kafka_ssl_keyfile: Annotated[str, _about("the key of our certificate (PEM)")] = ""
    topic_prefix: Annotated[str, _about("precedes every topic's and consumer group's name")] = ""
    partitions: Annotated[
        int, _about("partitions of topics that `livecard init` creates", "count", ge=1, le=1000)
    ] = 8
    replication: Annotated[
        int,
        _about(
            "replicas of topics that `livecard init` creates; -1: the broker's default", "count", ge=-1, le=9
        ),
    ] = -1
    kafka_session: Annotated[float, _seconds("Kafka session timeout of consumer groups", gt=1)] = 10.0
    batch: Annotated[int, _about("most events in one transaction", "events", ge=1, le=10_000)] = 2000

    database: Annotated[
        str,
        Meta(
            description="SQLAlchemy URL: postgresql+asyncpg://… or sqlite+aiosqlite:///…; "
            "empty: an SQLite file in the user's state folder, for trying out without LIVECARD_KAFKA",
            extra={"unit": "", "secret": "url"},
        ),
    ] = ""
    database_pool: Annotated[int, _about("connections to PostgreSQL per process", "count", ge=2, le=200)] = 8

    wechat: Annotated[
        str,
        Meta(
            description="base URL of WeChat's API (up, demo: the simulator where not set); of several, "
            "separated by commas, the next one is used where one cannot be reached",
            extra={"unit": "", "secret": "urls"},
        ),
    ] = "https://api.weixin.qq.com"
    wechat_ca: Annotated[
        str,
        _about(
            "file of the authorities that sign the certificate of LIVECARD_WECHAT (PEM), re-read on change; "
            "empty: the public list"
        ),
    ] = ""
    wechat_proxy: Annotated[
        str,
        Meta(
            description="the company's proxy on the way to WeChat, http://HOST:PORT or "
            "http://USER:PASSWORD@HOST:PORT; empty: none, whatever HTTPS_PROXY says",
            extra={"unit": "", "secret": "url"},
        ),
    ] = ""
    wechat_proxy_password_file: Annotated[
        str, _about("file with the proxy's password instead, re-read on change; nobody else may read it")
    ] = ""
    apps: Annotated[str, _secret('the mini programs\' secrets as JSON: {"appid": "secret"}')] = ""
    apps_file: Annotated[
        str,
        _about(
            "file with the same JSON, re-read on change; instead of a secret an object may say where the "
            "app's token comes from (docs/wechat.md); nobody else may read it"
        ),
    ] = ""
    session_key_file: Annotated[
        str,
        _about(
            "file of the keys that encrypt users' session keys, 32 bytes in base64 a line, re-read on "
            "change: the first encrypts, a key that is taken out ends its sessions; nobody else may read it"
        ),
    ] = ""

    http: Annotated[
        str,
        _about(
            "host:port of health and metrics, and of the gateway's API; empty: 127.0.0.1 and "
            "8080 gateway, up, demo · 8081 lifecycle · "
            "8082 clock · 8083 dispatcher · 8084 simulator"
        ),
    ] = ""
    api_keys_file: Annotated[
        str,
        _about(
            "file of the API's keys by their hashes, as `livecard key` writes it, re-read on change; "
            "nobody else may read it"
        ),
    ] = ""
    log: Annotated[
        Literal["auto", "json", "console"],
        _about("form of log lines on stderr; auto: console on a terminal, else json"),
    ] = "auto"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _about("least severe line that is logged")
    ] = "info"

    traces: Annotated[
        Literal["off", "otlp"],
        _about("spans of OpenTelemetry; otlp: by HTTP to a collector, as the OTEL_… variables say"),
    ] = "off"

    coalesce: Annotated[
        float, _seconds("at most one plan of calls for a card per so long; the end never waits")
    ] = 1.0
    sweep: Annotated[
        float,
        _seconds(
            "longest wait of a dispatcher between two claims (the poll), and how often it checks the gates"
        ),
    ] = 1.0
    members_per_call: Annotated[
        int, _about("longest list in one call; undocumented by WeChat", "members", ge=1, le=500)
    ] = 100
    in_flight: Annotated[
        int, _about("most calls to WeChat in flight per process", "calls", ge=1, le=1000)
    ] = 64
    in_flight_narrow: Annotated[
        int,
        _about(
            "calls in flight per app when its gate has just opened; doubled by each success",
            "calls",
            ge=1,
            le=64,
        ),
    ] = 4
    call_deadline: Annotated[float, _seconds("total deadline of one call to WeChat, token included")] = 10.0
    lease: Annotated[float, _seconds("how long a claimed card is held; must exceed the call deadline")] = 30.0
    backoff: Annotated[float, _seconds("first retry delay, doubled up to the cap, with full jitter")] = 1.0
    backoff_cap: Annotated[float, _seconds("longest retry delay")] = 60.0
    repair_after: Annotated[float, _seconds("how long after a doubt a card's state is delivered again")] = (
        30.0
    )
    end_wait: Annotated[
        float, _seconds("longest that an end waits for members owed from before it, once it is claimed")
    ] = 60.0
    probe: Annotated[float, _seconds("how often an app with a closed gate for its credentials is tried")] = (
        60.0
    )
    quota_probe: Annotated[float, _seconds("how often quota/get is asked about each app")] = 300.0
    quota_reserve: Annotated[
        int, _about("calls of an app's day that are kept for ends; 0: none", "calls", ge=0, le=100_000_000)
    ] = 0
    unknown_code_attempts: Annotated[
        int, _about("attempts per revision at an error code nobody documents", "attempts", ge=1, le=100)
    ] = 5
    empty_list_at_open: Annotated[
        bool, _about("send an empty list with state 1 when nobody is to be listed (undocumented by WeChat)")
    ] = True

    expiry_margin: Annotated[float, _seconds("how long before its id dies an activity is ended")] = 60.0
    expiring: Annotated[
        float, _seconds("how long before its id dies livecard.card.expiring is published, if it is open")
    ] = 3600.0
    tick: Annotated[float, _seconds("how often the clock looks for due timers")] = 0.5
    parked_after: Annotated[
        float, _seconds("how long an event waits for its `opened` before it is dead-lettered")
    ] = 3600.0
    relay_poll: Annotated[float, _seconds("how often a relay looks for changes other processes left")] = 0.25
    relay_lease: Annotated[float, _seconds("how long a relay holds a shard of the outbox", gt=1)] = 10.0
    keep_inbox: Annotated[
        float, _seconds("age at which inbox rows are pruned; repeats older than this count again")
    ] = 691_200.0
    keep_attempts: Annotated[float, _seconds("age at which the attempt log is pruned")] = 604_800.0
    keep_activities: Annotated[
        float, _seconds("how long after expiry activities and members are deleted (personal data)")
    ] = 2_592_000.0
    keep_bindings: Annotated[
        float, _seconds("how long after it was last said a binding is deleted (personal data)")
    ] = 7_776_000.0
    prune_every: Annotated[float, _seconds("how often old rows are pruned, in small steps")] = 60.0
    stalled_after: Annotated[
        float, _seconds("a loop that has not moved for so long makes /healthz answer 503", gt=15)
    ] = 60.0
    migration_wait: Annotated[
        float, _seconds("longest that `livecard init` waits for another process that migrates")
    ] = 60.0
    drain: Annotated[float, _seconds("longest that SIGTERM waits for what is in hand")] = 15.0

    simulator_http: Annotated[str, _about("host:port of the simulator that `up` and `demo` embed")] = (
        "127.0.0.1:8084"
    )
    simulator_faults: Annotated[
        str, _about("file of the simulator's fault rules (JSON), re-read on change")
    ] = ""
    simulator_cards: Annotated[
        str, _about("file in which the simulator keeps its cards over a restart (up: beside the database)")
    ] = ""
    simulator_gateway: Annotated[
        str,
        _about("base URL of the gateway through which the simulator's page opens activities (up: its own)"),
    ] = ""
    simulator_key_file: Annotated[
        str,
        _about(
            "file with the API key for that (`livecard key` prints one; scopes write and read); nobody else "
            "may read it"
        ),
    ] = ""

    def __repr__(self) -> str:
        """What is not as by default, secrets as `***`: for errors and logs that show an object."""
        changed = [f"{each.variable}={each.value}" for each in describe(self) if each.value != each.default]
        return f"Settings({', '.join(changed)})"

    def us(self, name: str) -> int:
        """The duration setting `name` in µs."""
        return round(float(getattr(self, name)) * 1_000_000)


_INTO_KAFKA: Final = ("kafka_security", "kafka_sasl_", "kafka_ssl_")
OF_THE_BROKER: Final = ("kafka", *(x for x in Settings.__struct_fields__ if x.startswith(_INTO_KAFKA)))
"""Which broker, and how it lets us in: what the embedded one has no use for."""


class Described(msgspec.Struct, frozen=True):
    """One row of `livecard settings`. Secrets show as `***`."""

    variable: str
    value: str
    default: str
    unit: str
    meaning: str
    wrong: str = ""
    """What is wrong with it as it is set now; then `value` is what was written."""


HINTS: Final[dict[str, Any]] = get_type_hints(Settings, include_extras=True)
"""Every field's type with its `Meta`."""


def describe(settings: Settings) -> list[Described]:
    """Every setting with its value now, in order."""
    defaults = Settings()
    rows = []
    for name in Settings.__struct_fields__:
        meta = get_args(HINTS[name])[1]
        unit = meta.extra["unit"] or choices(name) or "text"
        values = [_shown(name, getattr(each, name)) for each in (settings, defaults)]
        rows.append(Described(PREFIX + name.upper(), values[0], values[1], unit, meta.description))
    return rows


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the embedded store lives: `$XDG_STATE_HOME/livecard`, else `~/.local/state/livecard`.

    Raises RuntimeError for a user without a home, as a container may run us.
    """
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "livecard"


def database_url(settings: Settings, environ: Mapping[str, str] = os.environ) -> str:
    """The store's URL, by default an SQLite file in the state folder. Raises `SettingsError`."""
    if settings.database:
        return settings.database
    try:
        return f"sqlite+aiosqlite:///{state_folder(environ) / 'livecard.sqlite3'}"
    except RuntimeError:
        raise SettingsError(
            "LIVECARD_DATABASE is not set, and this user has no home folder for the SQLite file that is its "
            "default: set LIVECARD_DATABASE=postgresql+asyncpg://user@host/livecard, or name a folder in "
            "XDG_STATE_HOME"
        ) from None


def choices(name: str) -> str:
    """The values that a field may have, in words; empty where they cannot be counted."""
    kind = get_args(HINTS[name])[0]
    if kind is bool:
        return "true or false"
    allowed = [str(each) for each in get_args(kind) if each]
    return f"one of {', '.join(allowed)}" if allowed else ""


def decimal(number: float) -> str:
    """With all its digits and no exponent, as settings are written: 2592000, 0.5."""
    return str(int(number)) if float(number).is_integer() else format(Decimal(repr(number)), "f")


def is_secret(name: str) -> bool:
    """Whether the value of a field shows to nobody."""
    return bool(get_args(HINTS[name])[1].extra.get("secret"))


def _shown(name: str, value: Any) -> str:
    kind = get_args(HINTS[name])[1].extra.get("secret")
    if value and kind in ("url", "urls"):
        parts = value.split(",") if kind == "urls" else [value]
        return ",".join(_without_password(part.strip()) for part in parts)
    if value and is_secret(name):
        return "***"
    if isinstance(value, bool):
        return "true" if value else "false"
    return decimal(value) if isinstance(value, float) else str(value)


def _without_password(url: str) -> str:
    from sqlalchemy.engine import make_url

    try:
        parsed = make_url(url)
    except Exception:  # noqa: BLE001 (whatever is wrong with it, its text may be a piece of a password)
        return "***"
    hidden = {name: "***" for name in parsed.query if "pass" in name}
    shown = parsed.update_query_dict(hidden).render_as_string(hide_password=True)
    return "***" if shown.count("@") > 1 else shown  # one of a password that is not escaped
