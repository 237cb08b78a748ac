"""From our settings to aiokafka's, and what wrong ones are told."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.kafka.embedded import EmbeddedKafka
from services.kafka.options import BrokerError, kafka_options
from services.lifecycle.subscription import broker
from services.runtime.settings import Secret, Settings


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """Files of a certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kafka")])
    begins = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + dt.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    cert, secret = tmp_path / "cert.pem", tmp_path / "key.pem"
    secret.touch(0o600)
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(cert), str(secret)


def test_servers_are_a_list() -> None:
    options = kafka_options(Settings(kafka="a:9092, b:9093,"))
    assert options["bootstrap_servers"] == ["a:9092", "b:9093"]
    assert options["security_protocol"] == "PLAINTEXT"


@pytest.mark.parametrize("text", ["", " , ", "localhost", "a:b", ":9092", "a:0", "a:70000"])
def test_an_address_that_is_none_is_told(text: str) -> None:
    with pytest.raises(BrokerError, match="LIVECARD_KAFKA"):
        kafka_options(Settings(kafka=text))


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_sasl_and_tls_are_named_as_aiokafka_names_them(mechanism: str, certificate: tuple[str, str]) -> None:
    settings = Settings(
        kafka="a:9092",
        kafka_security="SASL_SSL",
        kafka_sasl_mechanism=mechanism,  # type: ignore[arg-type]  # one of its literals
        kafka_sasl_plain_username="u",
        kafka_sasl_plain_password=Secret("p"),
        kafka_ssl_cafile=certificate[0],
        kafka_ssl_certfile=certificate[0],
        kafka_ssl_keyfile=certificate[1],
    )
    options = kafka_options(settings)
    assert options["sasl_mechanism"] == mechanism
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("u", "p")
    context = options["ssl_context"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    given = broker(settings)._connection_kwargs
    assert {name: given[name] for name in ("security_protocol", "sasl_mechanism", "sasl_plain_password")} == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": mechanism,
        "sasl_plain_password": "p",
    }
    assert given["ssl_context"].verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize("security", ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])
def test_faststream_is_given_the_same_protocol(security: str) -> None:
    settings = Settings(
        kafka="a:9092",
        kafka_security=security,  # type: ignore[arg-type]  # one of its literals
        kafka_sasl_mechanism="PLAIN",
        kafka_sasl_plain_username="u",
    )
    assert broker(settings)._connection_kwargs["security_protocol"] == security


def test_files_that_cannot_be_used_are_named(tmp_path: Path, certificate: tuple[str, str]) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")

    def refused(match: str, **files: str) -> None:
        with pytest.raises(BrokerError, match=match):
            kafka_options(Settings(kafka="a:9092", kafka_security="SSL", **files))  # type: ignore[arg-type]  # files only

    refused("LIVECARD_KAFKA_SSL_CAFILE: cannot read", kafka_ssl_cafile=str(tmp_path / "none"))
    refused("LIVECARD_KAFKA_SSL_CAFILE: .* holds no certificate", kafka_ssl_cafile=str(empty))
    refused("LIVECARD_KAFKA_SSL_CERTFILE is set without", kafka_ssl_certfile=certificate[0])
    refused(
        "LIVECARD_KAFKA_SSL_CERTFILE and LIVECARD_KAFKA_SSL_KEYFILE are not",
        kafka_ssl_certfile=str(empty),
        kafka_ssl_keyfile=certificate[1],
    )
    refused("LIVECARD_KAFKA_SSL_KEYFILE is set without", kafka_ssl_keyfile=certificate[1])


def test_the_embedded_broker_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "confluent_kafka", None)
    with pytest.raises(BrokerError, match="LIVECARD_KAFKA"):
        EmbeddedKafka().start([])
