"""Network addresses that no Connection may lead to: where clouds hand out credentials to whoever asks from inside."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_METADATA = tuple(
    ip_network(text)
    for text in (
        "169.254.0.0/16",  # link-local: AWS, GCP, Azure, Oracle and others
        "fe80::/10",  # link-local
        "fd00:ec2::254/128",  # AWS over IPv6
        "100.100.100.200/32",  # Alibaba
    )
)


class AddressError(OSError):
    """A connection to an instance metadata service was about to be made."""


def check(host: str) -> None:
    """Raise `AddressError` where this numeric address belongs to an instance metadata service."""
    address = _embedded(ip_address(host.partition("%")[0]))
    if any(address in network for network in _METADATA):
        raise AddressError(f"{address} is a link-local or instance metadata address; no Connection may lead there")


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address.sixtofour or address
    return address
