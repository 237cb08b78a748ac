"""One Apache Kafka with a door of every kind and one PostgreSQL, shared; tests leave them as they were."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from scripts.engines import Kafka
from tests.security.authority import Authority, Pair
from tests.security.vault import Vault, a_vault

USER = "livecard-user"
PASSWORD = "canary-kafka-9c41+/=&%"
DOORS = {
    "TLS": "SSL",
    "MUTUAL": "SSL",
    "SASL": "SASL_SSL",
    "OPEN": "SASL_PLAINTEXT",
    "EXPIRED": "SSL",
    "ELSEWHERE": "SSL",
}
MECHANISMS = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"


@dataclass
class Fortress:
    """The broker, the authority of its certificates, one that nobody knows, and a client's pair."""

    kafka: Kafka
    authority: Authority
    stranger: Authority
    good: Pair
    client: Pair
    expired: Pair
    elsewhere: Pair
    admin: AdminClient

    def environment(self, door: str, **more: str) -> dict[str, str]:
        """What a process is told to come in by this door; `more` wins (`kafka_ssl_cafile="…"`)."""
        security = DOORS.get(door, "PLAINTEXT")
        told = {"kafka": self.kafka.address(door), "kafka_security": security}
        if security.endswith("SSL"):
            told["kafka_ssl_cafile"] = str(self.authority.file)
        if security.startswith("SASL"):
            told |= {
                "kafka_sasl_mechanism": "SCRAM-SHA-512",
                "kafka_sasl_plain_username": USER,
                "kafka_sasl_plain_password": PASSWORD,
            }
        if door == "MUTUAL":
            told |= {
                "kafka_ssl_certfile": str(self.client.certificate),
                "kafka_ssl_keyfile": str(self.client.key),
            }
        return {f"LIVECARD_{name.upper()}": value for name, value in {**told, **more}.items()}

    def set_password(self, password: str, user: str = USER) -> None:
        """Change it on the broker, for both kinds of SCRAM."""
        kinds = (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512)
        for kind in kinds:  # the broker takes one of a user's at a time
            wish = UserScramCredentialUpsertion(user, ScramCredentialInfo(kind, 4096), password.encode())
            for done in self.admin.alter_user_scram_credentials([wish]).values():
                done.result(20)

    def show(self, door: str, pair: Pair) -> None:
        """Let the broker show this certificate at a door from now on."""
        name = f"listener.name.{door.lower()}.ssl.keystore.location"
        entry = ConfigEntry(name, str(pair.both), incremental_operation=AlterConfigOpType.SET)
        wish = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry])
        for done in self.admin.incremental_alter_configs([wish]).values():
            done.result(20)

    def mend(self) -> None:
        """As it was at first."""
        self.set_password(PASSWORD)
        self.show("EXPIRED", self.expired)
        self.show("ELSEWHERE", self.elsewhere)


def door_settings(shown: dict[str, Pair], authority: Authority) -> dict[str, str]:
    """The broker's properties for every door."""
    settings = {"ssl.allow.dn.changes": "true", "ssl.allow.san.changes": "true"}
    for door, protocol in DOORS.items():
        prefix = f"listener.name.{door.lower()}"
        if protocol.endswith("SSL"):
            settings |= {
                f"{prefix}.ssl.keystore.type": "PEM",
                f"{prefix}.ssl.keystore.location": str(shown[door].both),
                f"{prefix}.ssl.truststore.type": "PEM",
                f"{prefix}.ssl.truststore.location": str(authority.file),
                f"{prefix}.ssl.client.auth": "required" if door == "MUTUAL" else "none",
            }
        if protocol.startswith("SASL"):
            modules = "org.apache.kafka.common.security"
            scram = f"{modules}.scram.ScramLoginModule required;"
            settings |= {
                f"{prefix}.sasl.enabled.mechanisms": MECHANISMS,
                f"{prefix}.scram-sha-256.sasl.jaas.config": scram,
                f"{prefix}.scram-sha-512.sasl.jaas.config": scram,
                f"{prefix}.plain.sasl.jaas.config": (
                    f'{modules}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
                ),
            }
    return settings


@pytest.fixture(scope="session")
def fortress(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fortress]:
    """Started once; asking for the shared broker skips where none can be had."""
    assert kafka
    folder = tmp_path_factory.mktemp("certificates")
    authority, stranger = Authority(folder, "authority"), Authority(folder, "stranger")
    good = authority.sign("good")
    shown = {
        **dict.fromkeys(DOORS, good),
        "EXPIRED": authority.sign("expired", expired=True),
        "ELSEWHERE": authority.sign("elsewhere", hosts=("kafka.example.org",)),
    }
    with Kafka(listeners=DOORS, settings=door_settings(shown, authority)) as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
        client, expired, elsewhere = authority.sign("client"), shown["EXPIRED"], shown["ELSEWHERE"]
        made = Fortress(broker, authority, stranger, good, client, expired, elsewhere, admin)
        made.set_password(PASSWORD)
        yield made


@pytest.fixture(scope="session")
def vault(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    """Started once; asking for the shared server skips where none can be had."""
    assert postgres_url
    with a_vault(tmp_path_factory.mktemp("vault")) as made:
        yield made
