"""Addresses where clouds hand out credentials are never connected to, by no client and in whatever form they are written."""

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
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "fd00:c1::a9fe:a9fe",
        "fd00:42::42",
        "168.63.129.16",
        "192.0.0.192",
        "100.100.100.200",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "2002:a9fe:a9fe::1",
        "64:ff9b::169.254.169.254",
        "64:ff9b::a83f:8110",
        "64:ff9b:1::169.254.169.254",
        "64:ff9b:1:a9fe:a9:fe00::",
        "64:ff9b:1:aaa9:fe:a9fe::",
        "64:ff9b:1:aaaa:a9:fea9:fe00:0",
        "64:ff9b:1:aaaa:bbbb:cccc:169.254.169.254",
        "2001:0:a9fe:a9fe:8000:ffff::",
        "2001:0:102:304:0:0:5601:5601",
        "2001:db8::5efe:169.254.169.254",
        "2001:db8::200:5efe:169.254.169.254",
    ],
)
def test_metadata_services_are_refused(host: str) -> None:
    with pytest.raises(addresses.AddressError, match="no Connection may lead there"):
        addresses.check(host)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "10.96.0.1", "192.168.1.1", "8.8.8.8", "169.253.0.1", "100.100.100.201", "168.63.129.17"),
        *(
            "::1",
            "::",
            "fd00::1",
            "fd20:ce::253",
            "64:ff9b::8.8.8.8",
            "64:ff9b:1::8.8.8.8",
            "64:ff9b:2::169.254.169.254",
        ),
        *("2002:808:808::1", "2001:0:102:304::", "2001:db8::a9fe:a9fe"),
    ],
)
def test_other_addresses_are_free(host: str) -> None:
    addresses.check(host)


def test_of_a_name_with_several_addresses_only_those_that_are_free_are_used() -> None:
    assert addresses.allowed(["169.254.169.254", "10.0.0.1", "fd00:ec2::23", "10.0.0.2", "10.0.0.1"]) == [
        "10.0.0.1",
        "10.0.0.2",
    ]


def test_a_name_all_of_whose_addresses_are_refused_is_refused() -> None:
    with pytest.raises(addresses.AddressError, match=r"168\.63\.129\.16"):
        addresses.allowed(["169.254.169.254", "168.63.129.16"])


async def test_an_address_in_another_notation_is_refused_as_what_it_is() -> None:
    for name in ("2852039166", "0xa9fea9fe", "169.254.43518"):
        with pytest.raises(addresses.AddressError, match=r"169\.254\.169\.254"):
            await addresses.resolved(name, 80)


async def test_a_name_that_cannot_be_one_is_told_as_one_that_is_not_known() -> None:
    with pytest.raises(OSError, match="the name is not valid"):
        await addresses.resolved("a" * 64, 80)
