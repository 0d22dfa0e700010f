"""Network addresses that no Connection may lead to: where clouds hand out credentials to whoever asks from inside.

Every client of an endpoint has the address checked that its socket connects to, after a name was resolved and not before: a name
that leads elsewhere the second time is checked the second time. IPv6 has many ways to write an IPv4 address, some of which a
translator on the way turns back into it: an address is refused for whatever it may stand for.
"""

import asyncio
import socket
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

_METADATA = tuple(
    ip_network(text)
    for text in (
        "169.254.0.0/16",  # link-local: AWS, GCP, Azure, Oracle and others; credentials of ECS tasks and EKS Pods
        "fe80::/10",  # link-local
        "fd00:ec2::/32",  # AWS over IPv6: instance metadata (::254), EKS Pod Identity (::23)
        "fd20:ce::254/128",  # GCP over IPv6
        "fd00:c1::a9fe:a9fe/128",  # Oracle over IPv6
        "fd00:42::42/128",  # Scaleway over IPv6
        "168.63.129.16/32",  # Azure's wire server
        "192.0.0.192/32",  # Oracle Cloud Classic
        "100.100.100.200/32",  # Alibaba
    )
)
_LAST_32_BITS = tuple(
    ip_network(text)
    for text in (
        "::/96",  # IPv4-compatible (RFC 4291)
        "::ffff:0:0/96",  # IPv4-mapped (RFC 4291)
        "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765)
        "64:ff9b::/96",  # NAT64 (RFC 6052)
    )
)
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
"""RFC 8215: a network may use all of it, or any longer prefix of it, for NAT64."""
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})
"""RFC 5214: before the last 32 bits."""


class AddressError(OSError):
    """A connection to an instance metadata service was about to be made."""


def check(host: str) -> None:
    """Raise `AddressError` where this numeric address belongs to an instance metadata service."""
    address = ip_address(host.partition("%")[0])
    for form in (address, *_embedded(address)):
        if any(form in network for network in _METADATA):
            raise AddressError(f"{address} is a link-local or instance metadata address; no Connection may lead there")


def allowed(hosts: Iterable[str]) -> list[str]:
    """Return those of a name's numeric addresses that may be connected to. Raises `AddressError` where none may."""
    found: list[str] = []
    refusal: AddressError | None = None
    for host in dict.fromkeys(hosts):
        try:
            check(host)
        except AddressError as error:
            refusal = error
        else:
            found.append(host)
    if not found and refusal is not None:
        raise refusal
    return found


async def resolved(name: str, port: int) -> list[str]:
    """Return the numeric addresses of a host that may be connected to. Raises `AddressError`, or another `OSError` of the resolver."""
    return await asyncio.to_thread(resolved_in_thread, name, port)


def resolved_in_thread(name: str, port: int) -> list[str]:
    """Do the same for a client that has a thread of its own."""
    try:
        answers = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "the name is not valid") from None
    return allowed(str(address[0]) for *_, address in answers)


def _embedded(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address]:
    """Yield every IPv4 address that an IPv6 address may stand for."""
    if isinstance(address, IPv4Address):
        return
    bits = int(address)
    if any(address in network for network in _LAST_32_BITS) or bits >> 32 & 0xFFFF_FFFF in _ISATAP:
        yield _ipv4(bits)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _LOCAL_NAT64:
        yield from _translated(bits)


def _translated(bits: int) -> Iterator[IPv4Address]:
    """Yield what RFC 6052 (2.2) may have put behind a prefix of 48, 56, 64 or 96 bits; bits 64 to 71 are left out."""
    without_octet = bits >> 64 << 56 | bits & (1 << 56) - 1  # 120 bits
    for prefix in (48, 56, 64):
        yield _ipv4(without_octet >> 120 - 32 - prefix)
    yield _ipv4(bits)


def _ipv4(bits: int) -> IPv4Address:
    return IPv4Address(bits & 0xFFFF_FFFF)
