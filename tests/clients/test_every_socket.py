"""Every client of an endpoint checks the address that it connects to, before it connects; names are verified all the same."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from incident_operator.api.connection import Connection, ConnectionSpec
from incident_operator.clients import addresses
from incident_operator.clients.connections import Endpoint, Probes
from incident_operator.clients.prometheus import Prometheus
from incident_operator.clients.sql import Sessions
from proofs.faults import certificates
from tests.actions.http_calls import listening
from tests.actions.sql.endpoints import Here

LOGIN = {"username": "u", "password": "p"}
KINDS = ("http", "prometheus", "alertmanager", "postgres")


@pytest.fixture
def probes() -> Iterator[Probes]:
    client = Prometheus()
    yield Probes(Here(Sessions()), client)
    client.close()


def postgres(host: str, port: int, secret: dict[str, str] | None = None, **more: Any) -> Endpoint:
    where = {"host": host, "port": port, "database": "d", **more}
    spec = ConnectionSpec.model_validate({"type": "postgres", "postgres": where})
    return Endpoint(Connection(spec=spec), LOGIN | (secret or {}), "1/1")


def of_kind(kind: str, host: str, port: int) -> Endpoint:
    if kind == "postgres":
        return postgres(host, port)
    name = f"[{host}]" if ":" in host else host
    spec = ConnectionSpec.model_validate({"type": kind, kind: {"url": f"http://{name}:{port}"}})
    return Endpoint(Connection(spec=spec), {}, "1/1")


async def told(probes: Probes, where: Endpoint) -> str:
    found = await probes.probe(where)
    return found.message if found is not None else ""


@asynccontextmanager
async def counting() -> AsyncIterator[tuple[int, list[Any]]]:
    """Yield a loopback port, and those who connected to it."""
    came: list[Any] = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(writer.get_extra_info("peername"))

    async with listening(serve) as port:
        yield port, came


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Have `db.example` lead to these addresses, another list at each question; return who was asked for."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def answer(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if host not in ("db.example", b"db.example"):
            return real(host, port, *rest, **more)
        asked.append("db.example")
        found = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, int(port))) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked


@pytest.mark.parametrize("host", ["169.254.169.254", "::169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::23"])
@pytest.mark.parametrize("kind", KINDS)
async def test_no_client_connects_to_a_metadata_service(probes: Probes, kind: str, host: str) -> None:
    assert "no Connection may lead there" in await told(probes, of_kind(kind, host, 80))


@pytest.mark.parametrize("kind", KINDS)
async def test_an_address_is_checked_before_it_is_connected_to(
    probes: Probes, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "_METADATA", (ip_network("127.0.0.0/8"),))
    async with counting() as (port, came):
        message = await told(probes, of_kind(kind, "127.0.0.1", port))
    assert "no Connection may lead there" in message
    assert came == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_name_that_leads_elsewhere_the_second_time_is_checked_the_second_time(
    probes: Probes, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "_METADATA", (ip_network("127.0.0.2/32"),))
    asked = resolving(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    async with counting() as (port, came):
        assert "no Connection may lead there" not in await told(probes, of_kind(kind, "db.example", port))
        assert "no Connection may lead there" in await told(probes, of_kind(kind, "db.example", port))
    assert len(asked) == 2, "the address that was checked is the one that is connected to"
    assert {peer[0] for peer in came} == {"127.0.0.1"}


@pytest.mark.parametrize("kind", KINDS)
async def test_of_a_names_addresses_only_those_that_are_free_are_connected_to(
    probes: Probes, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "_METADATA", (ip_network("127.0.0.2/32"),))
    resolving(monkeypatch, ["127.0.0.2", "127.0.0.3", "127.0.0.1"])
    async with counting() as (port, came):
        message = await told(probes, of_kind(kind, "db.example", port))
    assert "no Connection may lead there" not in message
    assert len(came) >= 1, "nobody listens at 127.0.0.3, so the next address has its turn"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_name_that_is_not_known_is_told(probes: Probes, kind: str) -> None:
    message = await told(probes, of_kind(kind, "nobody.invalid", 80))
    assert "nobody.invalid" in message


async def test_every_one_of_several_hosts_of_a_database_is_checked(probes: Probes) -> None:
    assert "no Connection may lead there" in await told(probes, postgres("127.0.0.1,169.254.169.254", 1))


@pytest.mark.parametrize(
    ("name", "said"),
    [("localhost", ""), ("db.example", 'server certificate for "127.0.0.1"')],
    ids=["of the certificate", "not of the certificate"],
)
async def test_tls_to_a_database_verifies_the_name_and_not_the_address(
    probes: Probes, name: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    resolving(monkeypatch, ["127.0.0.1"])
    made = await asyncio.to_thread(certificates.make, tmp_path)
    context, named = made.server(), list[str | None]()
    context.sni_callback = lambda _, server_name, __: named.append(server_name)
    async with listening(_database_with(context)) as port:
        trust = {"ca.crt": made.authority.read_text()}
        message = await told(probes, postgres(name, port, trust, sslMode="verify-full"))
    assert named == [name]
    assert said in message
    assert ("does not match host name" in message) is bool(said)


def _database_with(context: ssl.SSLContext) -> Callable[..., Any]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)  # SSLRequest
        writer.write(b"S")
        await writer.start_tls(context)
        await reader.read(1024)

    return serve
