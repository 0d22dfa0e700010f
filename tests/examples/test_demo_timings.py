"""The demonstration changes times and nothing else."""

from datetime import UTC, datetime

import pytest
import yaml
from demonstration import manifests, timings

NOW = datetime(2025, 10, 21, 13, 30, tzinfo=UTC)


def data(objects, name):
    return next(each["data"] for each in objects if each["kind"] == "ConfigMap" and each["metadata"]["name"] == name)


def test_only_the_three_configurations_change():
    shipped, short = manifests.platform(), timings.shortened(manifests.platform(), NOW)
    changed = [each["metadata"]["name"] for each, was in zip(short, shipped, strict=True) if each != was]
    assert changed == ["calendar", "prometheus", "alertmanager"]


def test_the_shipped_objects_are_left_as_they_were():
    objects = manifests.platform()
    timings.shortened(objects, NOW)
    assert objects == manifests.platform()


def test_what_a_rule_means_stays_the_same():
    def meaning(objects):
        rules = yaml.safe_load(data(objects, "prometheus")["rules.yml"])["groups"][0]["rules"]
        return [{key: value for key, value in rule.items() if key != "for"} for rule in rules]

    assert meaning(timings.shortened(manifests.platform(), NOW)) == meaning(manifests.platform())


@pytest.mark.parametrize(
    ("now", "zone", "day"),
    [
        ("2025-10-21T13:30", "NOON+1", "2025-10-21"),
        ("2025-10-21T23:59", "NOON+11", "2025-10-21"),
        ("2025-10-21T00:01", "NOON-12", "2025-10-21"),
    ],
)
def test_it_is_noon_before_a_night_that_is_held_back(now, zone, day):
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    calendar = data(timings.shortened(manifests.platform(), moment), "calendar")
    assert calendar == {"TZ": zone, "PRICING_DATE": day, "NIGHTLY_AT": "23:59", "PACK_DUE": "23:59"}


def test_the_night_comes_at_the_times_that_the_platform_ships_with():
    shipped = data(manifests.platform(), "calendar")
    assert f"NIGHTLY_AT={shipped['NIGHTLY_AT']}" == timings.NIGHT
    assert f"PACK_DUE={shipped['PACK_DUE']}" == timings.DUE


def test_alertmanager_can_be_told_to_post_elsewhere():
    objects = timings.posting_to(manifests.platform(), "http://10.244.0.1:9095/api/v1/alerts")
    receivers = yaml.safe_load(data(objects, "alertmanager")["alertmanager.yml"])["receivers"]
    assert receivers[0]["webhook_configs"][0]["url"] == "http://10.244.0.1:9095/api/v1/alerts"


def test_credentials_are_new_each_time():
    first, second = (manifests.credentials("receiver") for _ in range(2))
    pairs = [(one["stringData"], two["stringData"]) for one, two in zip(first, second, strict=True)]
    assert all(one != two for one, two in pairs[:-1])
    assert pairs[-1][0] == pairs[-1][1] == {"token": "receiver"}
