"""Makes a night short: the same objects with a demonstration's times in place of a production's. Pure."""

import copy
from collections.abc import Sequence
from datetime import datetime, timedelta

import yaml

from demonstration.manifests import Object


def shortened(objects: Sequence[Object], now: datetime) -> list[Object]:
    """Return the platform's objects with short times, on the eve of the day of `now` (UTC)."""
    return [_shortened(copy.deepcopy(each), now) for each in objects]


def night(at: datetime) -> dict[str, str]:
    """The scheduler's calendar in the night that begins at this moment (UTC)."""
    return {"PRICING_DATE": at.date().isoformat(), "NIGHTLY_AT": f"{at:%H:%M:%S}"}


def overdue(at: datetime) -> dict[str, str]:
    """The API's calendar once the pack of that night is due."""
    return {"PRICING_DATE": at.date().isoformat()}


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
    """Yesterday evening: that day's pack is fresh, and the next night is far away until the demonstration calls it."""
    evening = {"TZ": "UTC", "PRICING_DATE": (now.date() - timedelta(days=1)).isoformat(), "PACK_DUE": "00:00"}
    return evening | {"NIGHTLY_AT": (now + timedelta(hours=12)).strftime("%H:%M")}


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
