"""Addresses where clouds hand out credentials are never connected to."""

import pytest

from incident_operator.clients import addresses


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "febf::1",
        "::ffff:169.254.169.254",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "100.100.100.200",
    ],
)
def test_metadata_services_are_refused(host):
    with pytest.raises(addresses.AddressError, match="no Connection may lead there"):
        addresses.check(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.96.0.1", "192.168.1.1", "::1", "fd00::1", "8.8.8.8", "169.253.0.1"])
def test_other_addresses_are_free(host):
    addresses.check(host)
