"""Settings: every mistake is told at once, with what to write instead; secrets never show."""

import pytest

from services.runtime.environment import load, read
from services.runtime.settings import Settings, SettingsError, database_url, describe


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
        ({"LIVECARD_SWEEP": "5s"}, ["'5s' does not do: write plain decimal seconds, such as 5 or 0.5"]),
        ({"LIVECARD_SWEEP": "0"}, ["LIVECARD_SWEEP", "> 0"]),
        ({"LIVECARD_IN_FLIGHT": "many"}, ["'many' does not do: write a whole number (>= 1, <= 1000)"]),
        ({"LIVECARD_LOG_LEVEL": "loud"}, ["write one of debug, info, warning, error"]),
        ({"LIVECARD_KAFKA_SASL_MECHANISM": "x"}, ["write one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"]),
        ({"LIVECARD_EMPTY_LIST_AT_OPEN": "on"}, ["'on' does not do: write true or false"]),
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
        ({"LIVECARD_WECHAT": "https://"}, ["LIVECARD_WECHAT is no base URL", "https://api.weixin.qq.com"]),
        ({"LIVECARD_WECHAT": "https://:443"}, ["LIVECARD_WECHAT"]),
        ({"LIVECARD_WECHAT": "http://wechat:x"}, ["LIVECARD_WECHAT"]),
        ({"LIVECARD_WECHAT": "https://wechat?a=b"}, ["LIVECARD_WECHAT"]),
        ({"LIVECARD_WECHAT": "https://me@gateway"}, ["LIVECARD_WECHAT holds a user", "before the @"]),
        ({"LIVECARD_WECHAT": "https://a, b"}, ["LIVECARD_WECHAT is no base URL"]),
        ({"LIVECARD_WECHAT": ","}, ["LIVECARD_WECHAT is no base URL"]),
        ({"LIVECARD_WECHAT": "https://a,https://me@b"}, ["LIVECARD_WECHAT holds a user"]),
        (
            {"LIVECARD_WECHAT": "https://a,http://b"},
            ["LIVECARD_WECHAT names hosts", "write https:// for all"],
        ),
        ({"LIVECARD_WECHAT_PROXY": "proxy:3128"}, ["LIVECARD_WECHAT_PROXY is no proxy", "http://HOST:PORT"]),
        ({"LIVECARD_WECHAT_PROXY": "socks5://proxy:1080"}, ["LIVECARD_WECHAT_PROXY is no proxy"]),
        ({"LIVECARD_WECHAT_PROXY": "https://proxy:3128"}, ["LIVECARD_WECHAT_PROXY is no proxy"]),
        ({"LIVECARD_WECHAT_PROXY": "http://proxy/path"}, ["LIVECARD_WECHAT_PROXY is no proxy"]),
        ({"LIVECARD_WECHAT_PROXY": "http://a%3Ab:c@proxy"}, ["LIVECARD_WECHAT_PROXY is no proxy"]),
        ({"LIVECARD_WECHAT_PROXY": "http://:c@proxy"}, ["LIVECARD_WECHAT_PROXY is no proxy"]),
        (
            {"LIVECARD_WECHAT_PROXY": "http://proxy", "LIVECARD_WECHAT_PROXY_PASSWORD_FILE": "x"},
            ["LIVECARD_WECHAT_PROXY_PASSWORD_FILE: write the user", "http://USER@HOST:PORT"],
        ),
        (
            {"LIVECARD_WECHAT_PROXY": "http://a:b@proxy", "LIVECARD_WECHAT_PROXY_PASSWORD_FILE": "x"},
            ["LIVECARD_WECHAT_PROXY holds a password", "leave one out"],
        ),
        (
            {"LIVECARD_WECHAT_PROXY_PASSWORD_FILE": "x"},
            ["LIVECARD_WECHAT_PROXY_PASSWORD_FILE is set without LIVECARD_WECHAT_PROXY"],
        ),
        (
            {
                "LIVECARD_KAFKA_SECURITY": "SASL_SSL",
                "LIVECARD_KAFKA_SASL_PLAIN_PASSWORD": "p",
                "LIVECARD_KAFKA_SASL_PLAIN_PASSWORD_FILE": "x",
            },
            ["LIVECARD_KAFKA_SASL_PLAIN_PASSWORD_FILE are both set"],
        ),
        (
            {"LIVECARD_KAFKA_SASL_PLAIN_PASSWORD_FILE": "x"},
            ["LIVECARD_KAFKA_SASL_PLAIN_PASSWORD_FILE is set", "LIVECARD_KAFKA_SECURITY=SASL_SSL"],
        ),
        (
            {"LIVECARD_WECHAT": "http://gateway", "LIVECARD_WECHAT_CA": "ca.pem"},
            ["LIVECARD_WECHAT_CA is set", "https://"],
        ),
        (
            {"LIVECARD_KAFKA": "a:9092,http://b:9092"},
            ["LIVECARD_KAFKA: 'http://b:9092' is not host:port", "without http://"],
        ),
        ({"LIVECARD_KAFKA": "localhost"}, ["LIVECARD_KAFKA", "localhost:9092"]),
        ({"LIVECARD_KAFKA": ","}, ["LIVECARD_KAFKA names no broker"]),
        ({"LIVECARD_TOPIC_PREFIX": "a b"}, ["LIVECARD_TOPIC_PREFIX", "A-Z a-z 0-9"]),
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


LINKS = {
    "LIVECARD_SERVICE_HOST": "10.96.7.7",
    "LIVECARD_SERVICE_PORT": "8081",
    "LIVECARD_SERVICE_PORT_HTTP": "8081",
    "LIVECARD_PORT": "tcp://10.96.7.7:8081",
    "LIVECARD_PORT_8081_TCP": "tcp://10.96.7.7:8081",
    "LIVECARD_PORT_8081_TCP_PROTO": "tcp",
    "LIVECARD_PORT_8081_TCP_PORT": "8081",
    "LIVECARD_PORT_8081_TCP_ADDR": "10.96.7.7",
    "LIVECARD_KAFKA_SERVICE_HOST": "fd00::7",
    "LIVECARD_KAFKA_PORT": "tcp://[fd00::7]:9092",
    "LIVECARD_KAFKA_PORT_53_UDP": "udp://[fd00::7]:53",
    "LIVECARD_KAFKA_PORT_53_UDP_ADDR": "fd00::7",
    "LIVECARD_1_METRICS_SERVICE_PORT_8081_TCP": "8081",
}
"""What Kubernetes sets for Services named livecard, livecard-kafka and livecard-1-metrics."""


def test_links_to_the_services_of_kubernetes_are_no_settings() -> None:
    """They are in every container of the namespace, and no person wrote them."""
    assert load(LINKS) == Settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LIVECARD_PORT", "8081"),
        ("LIVECARD_HTTP_PORT", "8081"),
        ("LIVECARD_SERVICE", "10.96.7.7"),
        ("LIVECARD_SERVICE_HOST", "db.example.org"),
        ("LIVECARD_SERVICE_PORT", "http"),
        ("LIVECARD_PORT_8081", "tcp://10.96.7.7:8081"),
        ("LIVECARD_DATABSE", "tcp://10.96.7.7:8081"),
    ],
)
def test_what_a_person_wrote_is_told_beside_them(variable: str, value: str) -> None:
    """It only looks like a link."""
    with pytest.raises(SettingsError, match=f"^{variable}: no such setting"):
        load({**LINKS, variable: value})


def test_a_value_that_cannot_be_read_contradicts_no_other() -> None:
    """What it would have been nobody knows; contradictions between others are told all the same."""
    found = read({"LIVECARD_LEASE": "60s", "LIVECARD_CALL_DEADLINE": "40", "LIVECARD_BACKOFF": "90"})
    assert [each.variables[0] for each in found.mistakes] == ["LIVECARD_LEASE", "LIVECARD_BACKOFF_CAP"]


def test_what_is_wrong_is_marked_where_it_was_set() -> None:
    """For programs too: what was written, and why it does not do; secrets stay hidden."""
    found = read({"LIVECARD_SWEEP": "5s", "LIVECARD_APPS": "canary", "LIVECARD_APPS_FILE": "x"})
    wrong = {row.variable: row for row in found.described() if row.wrong}
    assert wrong.keys() == {"LIVECARD_SWEEP", "LIVECARD_APPS", "LIVECARD_APPS_FILE"}
    assert (wrong["LIVECARD_SWEEP"].value, wrong["LIVECARD_APPS"].value) == ("5s", "***")
    assert "plain decimal seconds" in wrong["LIVECARD_SWEEP"].wrong
    assert "canary" not in str(found.described())


def test_numbers_keep_their_digits() -> None:
    """As they are written: no exponent, nothing rounded."""
    settings = Settings(keep_activities=2_592_000.0, keep_inbox=1234567.25, tick=0.00001)
    values = {row.variable: row.value for row in describe(settings)}
    assert values["LIVECARD_KEEP_ACTIVITIES"] == "2592000"
    assert values["LIVECARD_KEEP_INBOX"] == "1234567.25"
    assert values["LIVECARD_TICK"] == "0.00001"


def test_the_unit_says_which_values_there_are() -> None:
    """Where they can be counted."""
    units = {row.variable: row.unit for row in describe(Settings())}
    assert units["LIVECARD_EMPTY_LIST_AT_OPEN"] == "true or false"
    assert units["LIVECARD_LOG_LEVEL"] == "one of debug, info, warning, error"


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


def test_a_password_for_a_gateway_is_refused_and_does_not_show() -> None:
    """It would never be sent, and was printed in clear."""
    found = read({"LIVECARD_WECHAT": "https://me:canary-7d1f@gateway/wechat"})
    assert "LIVECARD_WECHAT holds a user or a password" in found.report()
    assert "canary-7d1f" not in f"{found.report()}{found.described()}{found.settings!r}"
    assert {row.variable for row in found.described() if row.wrong} == {"LIVECARD_WECHAT"}
    plain = {"LIVECARD_WECHAT": "http://127.0.0.1:8084/a/b"}
    assert plain["LIVECARD_WECHAT"] in {row.value for row in read(plain).described()}


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://me@db/livecard?password=canary-7d1f",
        "postgresql+asyncpg://me:canary@7d1f:canary@db:x/livecard",
        "postgresql+asyncpg://me:7d1f/canary@db/livecard",
        "http://me:7d1f@canary@proxy:3128",
    ],
)
def test_a_password_in_the_wrong_place_does_not_show_either(url: str) -> None:
    """Behind the question mark, or not escaped."""
    shown = describe(Settings(database=url, wechat=url, wechat_proxy=url))
    assert "canary" not in "".join(row.value for row in shown)


def test_the_embedded_store_lives_in_the_state_folder() -> None:
    """XDG_STATE_HOME decides, unless LIVECARD_DATABASE does."""
    url = database_url(Settings(), {"XDG_STATE_HOME": "/state"})
    assert url == "sqlite+aiosqlite:////state/livecard/livecard.sqlite3"


@pytest.mark.parametrize("text", ["inf", "1e300", "nan", "3153600001"])
def test_a_duration_that_no_clock_can_hold_is_told(text: str) -> None:
    """As microseconds it must fit the store's integers."""
    with pytest.raises(SettingsError, match="LIVECARD_COALESCE"):
        load({"LIVECARD_COALESCE": text})


def test_several_hosts_and_a_proxy_show_without_its_password() -> None:
    told = {
        "LIVECARD_WECHAT": "https://api.weixin.qq.com, https://api2.weixin.qq.com",
        "LIVECARD_WECHAT_PROXY": "http://me:canary-7d1f@proxy:3128",
    }
    found = read(told)
    assert found.report() == ""
    rows = {row.variable: row.value for row in found.described()}
    assert rows["LIVECARD_WECHAT"] == "https://api.weixin.qq.com,https://api2.weixin.qq.com"
    assert rows["LIVECARD_WECHAT_PROXY"] == "http://me:***@proxy:3128"
    assert "canary" not in repr(found.settings)


def test_a_password_of_kafkas_may_come_from_a_file() -> None:
    settings = load(
        {
            "LIVECARD_KAFKA_SECURITY": "SASL_SSL",
            "LIVECARD_KAFKA_SASL_MECHANISM": "PLAIN",
            "LIVECARD_KAFKA_SASL_PLAIN_USERNAME": "u",
            "LIVECARD_KAFKA_SASL_PLAIN_PASSWORD_FILE": "/run/secrets/kafka",
        }
    )
    assert settings.kafka_sasl_plain_password_file == "/run/secrets/kafka"
