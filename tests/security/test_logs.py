"""No log line shows a secret: not in a URL, not in a list, not in the variables around an exception."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
import structlog
from faststream import ContextRepo

from services.kafka.options import kafka_options
from services.lifecycle.subscription import broker
from services.runtime import logs
from services.runtime.settings import Settings

TOKEN = "canary-token"


pytestmark = pytest.mark.usefixtures("logging_restored")


def fail(token: str) -> None:
    """Raise in a frame that holds secrets, from an error that held some, too."""
    password = f"{token}-password"
    try:
        (len(password)).to_bytes(0, "big")
    except OverflowError as error:
        raise RuntimeError("nothing in the text") from error


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_exception_is_told_without_the_variables_around_it(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Chained ones too; by structlog and by a library's logger."""
    logs.configure(Settings(log=form, log_level="debug"))  # type: ignore[arg-type]  # one of its literals
    try:
        fail(TOKEN)
    except RuntimeError:
        structlog.get_logger("livecard").exception("it failed")
        logging.getLogger("some.library").exception("it failed")
        logging.getLogger("some.library").exception("it failed", stack_info=True)
    told = capsys.readouterr().err
    assert told.count("RuntimeError: nothing in the text") == 3
    assert told.count("The above exception was the direct cause") == 3
    assert TOKEN not in told


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(
    "text",
    [
        "GET /cgi-bin/x?access_token=canary&y=1",
        '{"appid": "wx1", "secret": "canary"}',
        "postgresql+asyncpg://me:canary@db/livecard",
        "postgresql+asyncpg://me:unescaped@canary:x@db/livecard",
        "password='canary'",
    ],
)
def test_what_is_named_like_a_secret_is_struck_out_wherever_it_stands(
    form: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a text, in a list, in another library's message, in an exception."""
    logs.configure(Settings(log=form))  # type: ignore[arg-type]  # one of its literals
    log = structlog.get_logger("livecard")
    log.warning("told", error=text)
    log.warning("told", errors=[text], more={"a": (text,)}, error=OSError(text))
    logging.getLogger("some.library").warning("%s", text)
    try:
        dict[str, str]()[text]  # its error quotes it
    except KeyError:
        log.exception("told")
    told = capsys.readouterr().err
    assert "***" in told
    assert "canary" not in told


def test_what_faststream_says_goes_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    """Its own handler strikes nothing out and writes no JSON. A batch that we cut off is no error."""
    logs.configure(Settings(log="json"))
    state = broker(Settings(kafka="a:9092")).config.broker_config.logger
    state._setup(ContextRepo())
    for error in (RuntimeError(f"access_token={TOKEN}"), asyncio.CancelledError()):
        state.log(f"{type(error).__name__}: {error}", log_level=logging.ERROR, exc_info=error)
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert told["event"] == "RuntimeError: access_token=***"
    assert TOKEN not in line


@pytest.mark.parametrize("level", ["debug", "info"])
def test_libraries_that_write_down_what_they_send_never_do(level: str) -> None:
    """Whatever is asked for: aiokafka writes the password down at DEBUG."""
    logs.configure(Settings(log_level=level))  # type: ignore[arg-type]  # one of its literals
    for name in ("aiokafka", "aiokafka.conn", "sqlalchemy.engine"):
        assert logging.getLogger(name).getEffectiveLevel() >= logging.WARNING, name


def test_nor_where_logging_was_never_configured() -> None:
    """A program that only uses our clients."""
    logging.getLogger().setLevel(logging.DEBUG)
    logging.getLogger("aiokafka").setLevel(logging.NOTSET)
    kafka_options(Settings(kafka="a:9092"))
    assert logging.getLogger("aiokafka.conn").getEffectiveLevel() >= logging.WARNING
