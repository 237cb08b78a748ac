"""`host:port` as settings write it: our own addresses and Kafka's."""

from __future__ import annotations

from typing import Final

HIGHEST_PORT: Final = 65_535


def host_and_port(text: str) -> tuple[str, int] | None:
    """In two pieces, the host as it stands there; None where it is something else, a URL for one."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > HIGHEST_PORT or set(host) & set("/@?# \t"):
        return None
    return host, int(port)


def brokers(kafka: str) -> list[str]:
    """`LIVECARD_KAFKA` as a list; raises ValueError with words about what is wrong."""
    servers = [part.strip() for part in kafka.split(",") if part.strip()]
    if not servers:
        raise ValueError("LIVECARD_KAFKA names no broker: write host:port, such as localhost:9092")
    for server in servers:
        host, port = host_and_port(server) or ("", 0)
        if not host or not port:
            scheme = server[: server.find("://") + 3] if "://" in server else ""
            hint = f" (without {scheme})" if scheme else ""
            raise ValueError(f"LIVECARD_KAFKA: {server!r} is not host:port, such as localhost:9092{hint}")
    return servers


def bases(text: str) -> list[str]:
    """WeChat's hosts as `LIVECARD_WECHAT` lists them."""
    return [each.strip() for each in text.split(",") if each.strip()]
