"""What the operator may be told; the only reader of the environment."""

import json
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from incident_operator.api.meta import Severity, delta, is_dns_label, is_duration, is_object_name
from incident_operator.core.alerts import matching
from incident_operator.core.alerts.matching import IGNORE, AlertScope, ignore_matchers
from incident_operator.core.runbooks import reviews
from incident_operator.core.runbooks.reviews import Leave, UnaskedStep

PREFIX = "INCIDENT_OPERATOR_"
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_LONGEST_LEASE = 3600


class SettingError(Exception):
    """A setting cannot be used; the message names the variable and what would be right."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of `incident-operator run`, from variables named `INCIDENT_OPERATOR_…`."""

    namespaces: tuple[str, ...] = ()
    """Namespaces to serve, comma-separated in NAMESPACES; all of them when empty."""
    token_files: tuple[Path, ...] = ()
    """TOKEN_FILES: files with the webhook's bearer tokens, comma-separated; any of them lets a sender in."""
    token_secret: str | None = None
    """TOKEN_SECRET: a Secret beside the Lease that the operator makes once, and reads by the API; not beside TOKEN_FILES."""
    token_keys: tuple[str, ...] = ("token",)
    """TOKEN_KEYS: its keys with bearer tokens, comma-separated; any of them lets a sender in."""
    webhook_address: str = "0.0.0.0"  # noqa: S104
    webhook_port: int = 9095
    tls_cert: Path | None = None
    tls_key: Path | None = None
    health_address: str = "0.0.0.0"  # noqa: S104
    health_port: int = 8080
    unmatched_namespace: str | None = None
    """UNMATCHED_NAMESPACE: where alerts that no Runbook matches become Incidents; unset only counts them."""
    unmatched_ignore: tuple[str, ...] = IGNORE
    """UNMATCHED_IGNORE: matchers of alerts that are only counted where no Runbook matches them, a JSON list; `[]` for none."""
    namespace_label: str = matching.LABEL
    """NAMESPACE_LABEL: the label of an alert that names its namespace; a Runbook takes alerts of its own."""
    global_namespaces: tuple[str, ...] = ()
    """GLOBAL_NAMESPACES: namespaces whose Runbooks take alerts of every namespace, and of none, comma-separated."""
    severity_ceiling: tuple[tuple[str, Severity], ...] = ()
    """SEVERITY_CEILING: the worst that an Incident of a namespace may be, such as `dev=P2,test=P3`."""
    unasked: frozenset[UnaskedStep] = frozenset()
    """UNASKED: steps that may run without asking, a JSON list of `{namespace, runbook, step, digest}`."""
    unasked_problem: str = ""
    """Why UNASKED cannot be used, where it is of an older form; then everything asks."""
    not_acting: tuple[str, ...] = ()
    """NOT_ACTING: namespaces in which nothing runs without asking, comma-separated."""
    closed_ttl: timedelta = timedelta(hours=720)
    """CLOSED_TTL: how long closed Incidents are kept, e.g. `720h`; `0` for ever."""
    log_format: str = "auto"
    """LOG_FORMAT: `json`, `console`, or `auto` (console on a terminal)."""
    kubeconfig: str | None = None
    context: str | None = None
    instance: str = "incident-operator"
    """Name of this process in Events and in the Lease; the Pod's name in a cluster."""
    lease_namespace: str | None = None
    """LEASE_NAMESPACE: where the Lease is that lets one process act; the kubeconfig's or the Pod's own unless set."""
    lease_name: str = "incident-operator"
    lease_seconds: int = 15
    """LEASE_SECONDS: how long after a process was last heard another takes its place."""

    @property
    def leave(self) -> Leave:
        """What runs without asking, and where nothing does."""
        return Leave(self.unasked, frozenset(self.not_acting))

    @property
    def alert_scope(self) -> AlertScope:
        """Whose alerts are whose."""
        only = self.namespaces[0] if len(set(self.namespaces)) == 1 else ""
        return AlertScope(self.namespace_label, frozenset(self.global_namespaces), only, dict(self.severity_ceiling))


_DEFAULT = Settings()


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings. Raises `SettingError`."""
    chosen = _read(environment)
    _check_namespaces(chosen)
    _check_served(chosen)
    _check_tokens(chosen)
    if not is_object_name(chosen.lease_name):
        raise SettingError(f"{PREFIX}LEASE_NAME: {chosen.lease_name!r} is not a name of an object")
    if (chosen.tls_cert is None) != (chosen.tls_key is None):
        raise SettingError(f"{PREFIX}TLS_CERT and {PREFIX}TLS_KEY: set both or none")
    return chosen


def _read(environment: Mapping[str, str]) -> Settings:
    known = {key.removeprefix(PREFIX): value for key, value in environment.items() if key.startswith(PREFIX) and value}
    named, problem = _unasked(known)
    return Settings(
        namespaces=_words(known.get("NAMESPACES", "")),
        token_files=tuple(Path(word) for word in _words(known.get("TOKEN_FILES", ""))),
        token_secret=known.get("TOKEN_SECRET"),
        token_keys=_words(known.get("TOKEN_KEYS", "")) or _DEFAULT.token_keys,
        webhook_address=known.get("WEBHOOK_ADDRESS", _DEFAULT.webhook_address),
        webhook_port=_port(known, "WEBHOOK_PORT", _DEFAULT.webhook_port),
        tls_cert=_path(known.get("TLS_CERT")),
        tls_key=_path(known.get("TLS_KEY")),
        health_address=known.get("HEALTH_ADDRESS", _DEFAULT.health_address),
        health_port=_port(known, "HEALTH_PORT", _DEFAULT.health_port),
        unmatched_namespace=known.get("UNMATCHED_NAMESPACE"),
        unmatched_ignore=_ignored(known),
        namespace_label=known.get("NAMESPACE_LABEL", _DEFAULT.namespace_label),
        global_namespaces=_words(known.get("GLOBAL_NAMESPACES", "")),
        severity_ceiling=_ceilings(known.get("SEVERITY_CEILING", "")),
        unasked=named,
        unasked_problem=problem,
        not_acting=_words(known.get("NOT_ACTING", "")),
        closed_ttl=_duration(known, "CLOSED_TTL", _DEFAULT.closed_ttl),
        log_format=_one_of(known, "LOG_FORMAT", ("auto", "json", "console")),
        kubeconfig=environment.get("KUBECONFIG") or None,
        instance=known.get("INSTANCE") or socket.gethostname(),
        lease_namespace=known.get("LEASE_NAMESPACE"),
        lease_name=known.get("LEASE_NAME", _DEFAULT.lease_name),
        lease_seconds=_seconds(known, "LEASE_SECONDS", _DEFAULT.lease_seconds),
    )


def _check_namespaces(chosen: Settings) -> None:
    unmatched, lease = chosen.unmatched_namespace, chosen.lease_namespace
    named = (
        ("NAMESPACES", chosen.namespaces),
        ("UNMATCHED_NAMESPACE", (unmatched,) if unmatched else ()),
        ("LEASE_NAMESPACE", (lease,) if lease else ()),
        ("NOT_ACTING", chosen.not_acting),
        ("GLOBAL_NAMESPACES", chosen.global_namespaces),
        ("SEVERITY_CEILING", tuple(namespace for namespace, _ in chosen.severity_ceiling)),
    )
    for variable, names in named:
        wrong = [name for name in names if not is_dns_label(name)]
        if wrong:
            raise SettingError(
                f"{PREFIX}{variable}: {wrong[0]!r} is not a name of a namespace; patterns are not allowed"
            )
    if unmatched and chosen.namespaces and unmatched not in chosen.namespaces:
        raise SettingError(
            f"{PREFIX}UNMATCHED_NAMESPACE={unmatched!r} is not one of {PREFIX}NAMESPACES: nobody would see its Incidents"
        )


def _check_served(chosen: Settings) -> None:
    """Refuse a global namespace that is not served: nobody reads its Runbooks, and alerts would be lost in silence."""
    wrong = [name for name in chosen.global_namespaces if chosen.namespaces and name not in chosen.namespaces]
    if wrong:
        raise SettingError(
            f"{PREFIX}GLOBAL_NAMESPACES: {wrong[0]!r} is not one of {PREFIX}NAMESPACES: nobody reads its Runbooks"
        )


def _check_tokens(chosen: Settings) -> None:
    if chosen.token_secret is None:
        return
    if chosen.token_files:
        raise SettingError(f"{PREFIX}TOKEN_FILES and {PREFIX}TOKEN_SECRET: set one of them")
    if not is_object_name(chosen.token_secret):
        raise SettingError(f"{PREFIX}TOKEN_SECRET: {chosen.token_secret!r} is not a name of an object")
    if wrong := [key for key in chosen.token_keys if not _KEY.fullmatch(key)]:
        raise SettingError(f"{PREFIX}TOKEN_KEYS: {wrong[0]!r} is not a key of a Secret")


def _unasked(known: Mapping[str, str]) -> tuple[frozenset[UnaskedStep], str]:
    """Return what may run unasked. A list that cannot be read names nothing: the operator starts, and asks for everything."""
    try:
        return reviews.steps_of(known.get("UNASKED", "[]")), ""
    except ValueError as error:
        return frozenset(), f"{PREFIX}UNASKED: {error}; the setting is ignored, and every such step asks"


def _ignored(known: Mapping[str, str]) -> tuple[str, ...]:
    text = known.get("UNMATCHED_IGNORE")
    if text is None:
        return _DEFAULT.unmatched_ignore
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    if not isinstance(told, list) or not all(isinstance(each, str) for each in told):
        raise SettingError(f"{PREFIX}UNMATCHED_IGNORE: write a JSON list of matchers, such as {json.dumps(IGNORE)}")
    try:
        ignore_matchers(told)
    except ValueError as error:
        raise SettingError(f"{PREFIX}UNMATCHED_IGNORE: {error}") from error
    return tuple(told)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _ceilings(text: str) -> tuple[tuple[str, Severity], ...]:
    pairs = [word.partition("=") for word in _words(text)]
    wrong = [f"{name}{sign}{severity}" for name, sign, severity in pairs if severity not in set(Severity)]
    if wrong:
        raise SettingError(f"{PREFIX}SEVERITY_CEILING: {wrong[0]!r} is not of the form dev=P2, with P0 to P4")
    return tuple((name, Severity(severity)) for name, _, severity in pairs)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _port(known: Mapping[str, str], name: str, default: int) -> int:
    text = known.get(name, str(default))
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise SettingError(f"{PREFIX}{name}={text!r}: a port is a number from 0 to 65535")
    return int(text)


def _duration(known: Mapping[str, str], name: str, default: timedelta) -> timedelta:
    text = known.get(name)
    if text is None:
        return default
    if text != "0" and not is_duration(text):
        raise SettingError(f"{PREFIX}{name}={text!r}: a duration such as 720h, 30d or 90m, or 0")
    return delta(text)


def _seconds(known: Mapping[str, str], name: str, default: int) -> int:
    text = known.get(name, str(default))
    if not text.isdecimal() or not 1 <= int(text) <= _LONGEST_LEASE:
        raise SettingError(f"{PREFIX}{name}={text!r}: whole seconds, from 1 to {_LONGEST_LEASE}")
    return int(text)


def _one_of(known: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    text = known.get(name, allowed[0])
    if text not in allowed:
        raise SettingError(f"{PREFIX}{name}={text!r}: one of {', '.join(allowed)}")
    return text
