"""Makes a night short: the same objects with a demonstration's times in place of a production's. Pure."""

import copy
from collections.abc import Sequence
from datetime import datetime, timedelta

import yaml

from demonstration.manifests import Object

NIGHT = "NIGHTLY_AT=00:00"
"""What lets the scheduler's night begin: the time that it ships with."""
DUE = "PACK_DUE=00:15"
"""What lets the API's deadline pass: the time that it ships with."""


def shortened(objects: Sequence[Object], now: datetime) -> list[Object]:
    """Return the platform's objects with short times, before the night of the day of `now` (UTC)."""
    return [_shortened(copy.deepcopy(each), now) for each in objects]


def posting_to(objects: Sequence[Object], url: str) -> list[Object]:
    """Return the objects with Alertmanager posting to another address."""
    return [_posting_to(copy.deepcopy(each), url) for each in objects]


def _posting_to(each: Object, url: str) -> Object:
    if each["kind"] != "ConfigMap" or each["metadata"]["name"] != "alertmanager":
        return each
    config = yaml.safe_load(each["data"]["alertmanager.yml"])
    config["receivers"][0]["webhook_configs"][0]["url"] = url
    each["data"]["alertmanager.yml"] = yaml.safe_dump(config)
    return each


def _shortened(each: Object, now: datetime) -> Object:
    if each["kind"] != "ConfigMap":
        return each
    match each["metadata"]["name"]:
        case "calendar":
            each["data"] |= _calendar(now)
        case "prometheus":
            each["data"] |= _prometheus(each["data"])
        case "alertmanager":
            each["data"] |= _alertmanager(each["data"])
    return each


def _calendar(now: datetime) -> dict[str, str]:
    """Holds the night back: the day's build is late already, but begins only with NIGHT, and is overdue only with DUE.

    The zone is the one in which it is noon, so that no midnight comes in between.
    """
    hours = now.hour - 12
    day = (now - timedelta(hours=hours)).date()
    return {"TZ": f"NOON{hours:+d}", "PRICING_DATE": day.isoformat(), "NIGHTLY_AT": "23:59", "PACK_DUE": "23:59"}


def _prometheus(data: dict[str, str]) -> dict[str, str]:
    config, rules = yaml.safe_load(data["prometheus.yml"]), yaml.safe_load(data["rules.yml"])
    config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s", "scrape_timeout": "1s"}
    for rule in rules["groups"][0]["rules"]:
        if "for" in rule:
            rule["for"] = "3s"
    return {"prometheus.yml": yaml.safe_dump(config), "rules.yml": yaml.safe_dump(rules)}


def _alertmanager(data: dict[str, str]) -> dict[str, str]:
    config = yaml.safe_load(data["alertmanager.yml"])
    config["route"] |= {"group_wait": "1s", "group_interval": "2s"}
    return {"alertmanager.yml": yaml.safe_dump(config)}
