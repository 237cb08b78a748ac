"""Settings: every mistake is told at once, with what to write instead; secrets never show."""

import pytest

from services.environment import SettingsError, load
from services.settings import Settings, database_url, describe


def test_nothing_set_means_defaults() -> None:
    """An empty environment is fine."""
    assert load({}) == Settings()


def test_values_are_read_with_their_types() -> None:
    """Plain decimal seconds, counts, choices, booleans."""
    settings = load(
        {
            "LIVECARD_COALESCE": "0.5",
            "LIVECARD_MEMBERS_PER_CALL": "50",
            "LIVECARD_KAFKA": " broker:9092 ",
            "LIVECARD_EMPTY_LIST_AT_OPEN": "false",
        }
    )
    assert (settings.coalesce, settings.us("coalesce")) == (0.5, 500_000)
    assert settings.members_per_call == 50
    assert settings.kafka == "broker:9092"
    assert settings.empty_list_at_open is False


def test_an_empty_variable_is_not_set() -> None:
    """Compose files hand over empty variables."""
    assert load({"LIVECARD_COALESCE": "", "LIVECARD_KAFKA": "  "}) == Settings()


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"LIVECARD_COALESCE": "soon"}, ["LIVECARD_COALESCE", "'soon'", "livecard settings"]),
        ({"LIVECARD_SWEEP": "0"}, ["LIVECARD_SWEEP", "> 0"]),
        ({"LIVECARD_MEMBERS_PER_CALL": "501"}, ["LIVECARD_MEMBERS_PER_CALL", "<= 500"]),
        ({"LIVECARD_KAFKA_SECURITY": "TLS"}, ["LIVECARD_KAFKA_SECURITY"]),
        ({"LIVECARD_COALESE": "1"}, ["LIVECARD_COALESE", "did you mean LIVECARD_COALESCE?"]),
        ({"LIVECARD_LEASE": "5"}, ["LIVECARD_LEASE", "LIVECARD_CALL_DEADLINE"]),
        ({"LIVECARD_APPS": "{}", "LIVECARD_APPS_FILE": "x"}, ["LIVECARD_APPS", "LIVECARD_APPS_FILE"]),
        ({"LIVECARD_BACKOFF": "90"}, ["LIVECARD_BACKOFF_CAP"]),
        (
            {"LIVECARD_KAFKA_SECURITY": "SASL_SSL"},
            [f"LIVECARD_KAFKA_SASL_{rest}" for rest in ("MECHANISM", "PLAIN_USERNAME", "PLAIN_PASSWORD")],
        ),
        (
            {"LIVECARD_KAFKA_SECURITY": "SSL", "LIVECARD_KAFKA_SASL_PLAIN_PASSWORD": "p"},
            ["LIVECARD_KAFKA_SASL_PLAIN_PASSWORD is set", "LIVECARD_KAFKA_SECURITY=SASL_SSL"],
        ),
        (
            {"LIVECARD_KAFKA_SSL_CAFILE": "x"},
            ["LIVECARD_KAFKA_SSL_CAFILE is set", "LIVECARD_KAFKA_SECURITY=SSL"],
        ),
        (
            {"LIVECARD_KAFKA_SECURITY": "SSL", "LIVECARD_KAFKA_SSL_KEYFILE": "x"},
            ["LIVECARD_KAFKA_SSL_KEYFILE is set without LIVECARD_KAFKA_SSL_CERTFILE"],
        ),
        ({"LIVECARD_WECHAT": "api.weixin.qq.com"}, ["LIVECARD_WECHAT", "https://"]),
        ({"LIVECARD_DATABASE": "localhost"}, ["LIVECARD_DATABASE", "postgresql+asyncpg://"]),
    ],
)
def test_a_mistake_says_what_to_do(environ: dict[str, str], words: list[str]) -> None:
    """Each mistake names its variable and what it should be."""
    with pytest.raises(SettingsError) as caught:
        load(environ)
    for word in words:
        assert word in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    """Nobody should have to start a service three times to learn of three mistakes."""
    with pytest.raises(SettingsError) as caught:
        load({"LIVECARD_COALESCE": "x", "LIVECARD_SWEEP": "y", "LIVECARD_NOPE": "z"})
    assert all(name in str(caught.value) for name in ("LIVECARD_COALESCE", "LIVECARD_SWEEP", "LIVECARD_NOPE"))


def test_every_setting_has_unit_default_and_meaning() -> None:
    """`livecard settings` is the documentation."""
    for row in describe(Settings()):
        assert row.variable.startswith("LIVECARD_")
        assert row.unit
        assert row.meaning


def test_secrets_never_show() -> None:
    """Neither in the table nor in a mistake's text."""
    canary = "canary-7d1f"
    settings = load(
        {
            "LIVECARD_APPS": f'{{"wx1": "{canary}"}}',
            "LIVECARD_KAFKA_SECURITY": "SASL_SSL",
            "LIVECARD_KAFKA_SASL_MECHANISM": "PLAIN",
            "LIVECARD_KAFKA_SASL_PLAIN_USERNAME": "me",
            "LIVECARD_KAFKA_SASL_PLAIN_PASSWORD": canary,
            "LIVECARD_DATABASE": f"postgresql+asyncpg://me:{canary}@db/livecard",
        }
    )
    assert canary not in "".join(row.value for row in describe(settings))
    assert canary not in repr(settings)
    assert "LIVECARD_KAFKA_SASL_PLAIN_PASSWORD=***" in repr(settings)
    assert "postgresql+asyncpg://me:***@db/livecard" in {row.value for row in describe(settings)}


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://me@db/livecard?password=canary-7d1f",
        "postgresql+asyncpg://me:canary@7d1f:canary@db:x/livecard",
        "postgresql+asyncpg://me:7d1f/canary@db/livecard",
    ],
)
def test_a_password_in_the_wrong_place_does_not_show_either(url: str) -> None:
    """Behind the question mark, or not escaped."""
    assert "canary" not in "".join(row.value for row in describe(Settings(database=url)))


def test_the_embedded_store_lives_in_the_state_folder() -> None:
    """XDG_STATE_HOME decides, unless LIVECARD_DATABASE does."""
    url = database_url(Settings(), {"XDG_STATE_HOME": "/state"})
    assert url == "sqlite+aiosqlite:////state/livecard/livecard.sqlite3"


@pytest.mark.parametrize("text", ["inf", "1e300", "nan", "3153600001"])
def test_a_duration_that_no_clock_can_hold_is_told(text: str) -> None:
    """As microseconds it must fit the store's integers."""
    with pytest.raises(SettingsError, match="LIVECARD_COALESCE"):
        load({"LIVECARD_COALESCE": text})
