"""What the operator may be told. Each setting is declared once: an option of `run`, its variable, and its row of docs/settings.md.

A default is written as one would write it, and is read as what one writes is.
"""

import dataclasses
import json
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from incident_operator.api.meta import Severity, delta, is_dns_label, is_duration, is_object_name
from incident_operator.core.alerts import matching
from incident_operator.core.alerts.matching import AlertScope
from incident_operator.core.runbooks import reviews
from incident_operator.core.runbooks.reviews import Leave, UnaskedStep

PREFIX = "INCIDENT_OPERATOR_"
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_LONGEST_LEASE = 3600
_SHOWN = 80
"""Characters of a wrong value that a message repeats."""


class SettingError(click.ClickException):
    """A setting cannot be used; the message names the variable and what would be right."""


class Kind(click.ParamType[Any]):
    """How a value is written, and what reads it: a function that raises `ValueError`, whose message says what would be right."""

    def __init__(self, written: str, read: Callable[[str], Any]) -> None:
        self.name, self.read = written, read

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 # click's signature
        """Say in the help how it is written."""
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it. Raises `SettingError` for a variable, and click's own error for an argument."""
        try:
            return self.read(value)
        except ValueError as error:
            if (
                isinstance(param, Option)
                and ctx
                and ctx.get_parameter_source(param.name) is ParameterSource.ENVIRONMENT
            ):
                shown = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
                raise SettingError(f"{param.variable}={shown!r}: {error}") from error
            self.fail(str(error), param, ctx)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _namespaces(text: str) -> tuple[str, ...]:
    names = _words(text)
    for name in names:
        if not is_dns_label(name):
            raise ValueError(f"{name!r} is not a valid name of a namespace; patterns are not allowed")
    return names


def _namespace(text: str) -> str | None:
    if text and not is_dns_label(text):
        raise ValueError("not a valid name of a namespace")
    return text or None


def _object_name(text: str) -> str | None:
    if text and not is_object_name(text):
        raise ValueError("not a valid name of an object")
    return text or None


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise ValueError("a port is a number from 0 to 65535")
    return int(text)


def _seconds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _LONGEST_LEASE:
        raise ValueError(f"whole seconds, from 1 to {_LONGEST_LEASE}")
    return int(text)


def _duration(text: str) -> timedelta:
    if text != "0" and not is_duration(text):
        raise ValueError("a duration such as 720h, 30d or 90m, or 0")
    return delta(text)


def _log_format(text: str) -> str:
    if text not in {"auto", "json", "console"}:
        raise ValueError("one of auto, json, console")
    return text


def _matchers(text: str) -> tuple[str, ...]:
    try:
        told = json.loads(text)
    except json.JSONDecodeError:
        told = None
    if not isinstance(told, list) or not all(isinstance(each, str) for each in told):
        raise ValueError(f"write a JSON list of matchers, such as {json.dumps(matching.IGNORE)}")
    matching.ignore_matchers(told)
    return tuple(told)


def _ceilings(text: str) -> tuple[tuple[str, Severity], ...]:
    found = []
    for word in _words(text):
        name, _, severity = word.partition("=")
        if severity not in set(Severity):
            raise ValueError(f"{word!r} is not of the form dev=P2, with P0 to P4")
        if not is_dns_label(name):
            raise ValueError(f"{name!r} is not a valid name of a namespace; patterns are not allowed")
        found.append((name, Severity(severity)))
    return tuple(found)


TEXT = Kind("TEXT", lambda text: text or None)
PATH = Kind("FILE", lambda text: Path(text) if text else None)
PATHS = Kind("FILE,…", lambda text: tuple(map(Path, _words(text))))
NAMESPACE = Kind("NAMESPACE", _namespace)
NAMESPACES = Kind("NAMESPACE,…", _namespaces)
NAME = Kind("NAME", _object_name)
PORT = Kind("PORT", _port)


def _setting(kind: Kind, default: str, meaning: str, *, chart: str = "-", none: str = "none", **more: str) -> Any:
    """Declare a setting: how it is written, its default, its meaning in Markdown, the chart's value, and what having no default means."""
    told = {"kind": kind, "default": default, "meaning": meaning, "chart": chart, "none": none, **more}
    return dataclasses.field(default_factory=lambda: kind.read(default), metadata=told)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of `incident-operator run`; the variable of `webhook_port` is `INCIDENT_OPERATOR_WEBHOOK_PORT`."""

    namespaces: tuple[str, ...] = _setting(
        NAMESPACES, "",
        "namespaces to serve, comma-separated. All are served only where the operator's account may create Incidents in every one, "
        "which the chart does not grant; else none is. A namespace that is not served is neither read nor changed: "
        "[rights](operating.md#rights)",
        chart="namespaces", none="all",
    )  # fmt: skip
    token_secret: str | None = _setting(
        NAME, "",
        "a Secret beside the Lease with the webhook's bearer tokens, which the operator makes and reads by the API. The chart says its "
        "own unless `webhook.token.existingSecret` is set. Neither this nor `TOKEN_FILES`: no alerts are received; both: it does not "
        "start",
    )  # fmt: skip
    token_keys: tuple[str, ...] = _setting(
        Kind("KEY,…", lambda text: _words(text) or ("token",)), "token",
        "keys of that Secret, comma-separated; each of them lets a sender in",
        chart="webhook.token.keys",
    )  # fmt: skip
    token_files: tuple[Path, ...] = _setting(
        PATHS, "",
        "files with the bearer tokens, comma-separated, in place of such a Secret. The chart mounts `webhook.token.existingSecret` so",
        chart="webhook.token.keys",
    )  # fmt: skip
    webhook_address: str = _setting(TEXT, "0.0.0.0", "address where alerts are received", chart="webhook.address")  # noqa: S104
    webhook_port: int = _setting(
        PORT, "9095", "port where alerts are received; `0` for any free one", chart="webhook.port"
    )
    tls_cert: Path | None = _setting(
        PATH, "", "certificate of the webhook; plain HTTP without one", chart="webhook.tls.secretName"
    )
    tls_key: Path | None = _setting(PATH, "", "its key; both or neither", chart="webhook.tls.secretName")
    health_address: str = _setting(TEXT, "0.0.0.0", "address where `/healthz`, `/readyz` and `/metrics` are served")  # noqa: S104
    health_port: int = _setting(PORT, "8080", "their port; `0` for any free one", chart="health.port")
    unmatched_namespace: str | None = _setting(
        NAMESPACE, "",
        "where alerts that no Runbook matches become Incidents in `NeedsHuman`, one of those served; unset only counts and logs them",
        chart="unmatchedNamespace",
    )  # fmt: skip
    unmatched_ignore: tuple[str, ...] = _setting(
        Kind("JSON", _matchers), json.dumps(matching.IGNORE),
        "alerts that are only counted where no Runbook matches them: a JSON list of Alertmanager's matchers, any of which is enough; "
        "`[]` for none. `Watchdog` is never an Incident: [heartbeat](operating.md#heartbeat)",
        chart="unmatched.ignore",
    )  # fmt: skip
    namespace_label: str = _setting(
        TEXT, matching.LABEL,
        "the label of an alert that names its namespace: [whose alerts](operating.md#whose-alerts)",
        chart="namespaceLabel",
    )  # fmt: skip
    global_namespaces: tuple[str, ...] = _setting(
        NAMESPACES, "",
        "namespaces whose Runbooks take every alert, whatever that label says, comma-separated; each is one of `NAMESPACES` where "
        "these are set",
        chart="globalNamespaces",
    )  # fmt: skip
    severity_ceiling: tuple[tuple[str, Severity], ...] = _setting(
        Kind("NAMESPACE=P2,…", _ceilings), "",
        "the highest severity that an Incident of a namespace may have, such as `dev=P2,test=P3`: "
        "[many namespaces](operating.md#many-namespaces). The chart takes `{dev: P2}`",
        chart="severityCeiling",
    )  # fmt: skip
    unasked: str | None = _setting(
        Kind("JSON", lambda text: text or None), "",
        "steps that run [without asking](approval.md#what-runs-unasked), a JSON list of `{namespace, runbook, step, digest}`. A list of "
        "another form, such as the names of actions that older versions took, is ignored: the operator starts, asks for everything, and "
        "logs why",
        chart="unasked",
    )  # fmt: skip
    not_acting: tuple[str, ...] = _setting(
        NAMESPACES, "",
        "namespaces in which nothing runs without asking, not even an undo, comma-separated. The chart takes `{prod: false}`",
        chart="acting",
    )  # fmt: skip
    closed_ttl: timedelta = _setting(
        Kind("DURATION", _duration), "720h",
        "how long closed Incidents are kept, such as `30d`; `0` keeps them for ever",
        chart="closedTTL",
    )  # fmt: skip
    log_format: str = _setting(
        Kind("[auto|json|console]", _log_format), "auto",
        "`json`, `console`, or `auto`: console on a terminal. The chart says `json`",
        chart="log.format",
    )  # fmt: skip
    instance: str = _setting(
        Kind("TEXT", lambda text: text or socket.gethostname()), "",
        "name of this process in Events and in the Lease; in a cluster the Pod's name",
        none="host name",
    )  # fmt: skip
    lease_namespace: str | None = _setting(
        NAMESPACE, "",
        "where the Lease is that says who acts, and the operator's own Secrets; unset: the Pod's own namespace, or the kubeconfig's. "
        "The chart says the release's",
    )  # fmt: skip
    lease_name: str = _setting(
        Kind("NAME", lambda text: _object_name(text) or "incident-operator"), "incident-operator",
        "its name, and with `-markers` that of a Secret; processes that serve the same namespaces share them. The chart says the "
        "release's full name",
    )  # fmt: skip
    lease_seconds: int = _setting(
        Kind("SECONDS", _seconds), "15",
        "how long after the last sign of the acting process another one takes its place; whole seconds, 1 to 3600",
        chart="lease.seconds",
    )  # fmt: skip
    kubeconfig: str | None = _setting(
        Kind("FILE", lambda text: text or None),
        "",
        "kubeconfig to use outside a cluster",
        none="in-cluster",
        variable="KUBECONFIG",
    )
    context: str | None = _setting(TEXT, "", "context of the kubeconfig", none="its current one", variable="")

    @property
    def leave(self) -> Leave:
        """What runs without asking, and where nothing does."""
        return Leave(self._unasked()[0], frozenset(self.not_acting))

    @property
    def unasked_problem(self) -> str:
        """Why `unasked` cannot be used, where it is of an older form; then everything asks."""
        return self._unasked()[1]

    @property
    def alert_scope(self) -> AlertScope:
        """Whose alerts are whose."""
        only = self.namespaces[0] if len(set(self.namespaces)) == 1 else ""
        return AlertScope(self.namespace_label, frozenset(self.global_namespaces), only, dict(self.severity_ceiling))

    def _unasked(self) -> tuple[frozenset[UnaskedStep], str]:
        """Return what may run unasked. A list that cannot be read names nothing: the operator starts, and asks for everything."""
        try:
            return reviews.steps_of(self.unasked or "[]"), ""
        except ValueError as error:
            return frozenset(), f"{PREFIX}UNASKED: {error}; the setting is ignored, and every such step asks"


class Option(click.Option):
    """A setting as an option of `run`."""

    def __init__(self, setting: dataclasses.Field[Any]) -> None:
        told = setting.metadata
        self.meaning, self.chart = told["meaning"], told["chart"]
        self.default_text, self.without = told["default"], told["none"]
        self.variable: str = told.get("variable", f"{PREFIX}{setting.name.upper()}")
        """Its name in the environment; empty where it has none."""
        super().__init__(
            [f"--{setting.name.replace('_', '-')}", setting.name],
            type=told["kind"],
            default=told["default"],
            show_default=True if self.default_text else self.without,
            envvar=self.variable or None,
            show_envvar=True,
            help=_plain(self.meaning),
        )


def _plain(markdown: str) -> str:
    """Return a meaning for a terminal: a link says which page it leads to."""
    return re.sub(r"\[([^]]*)\]\(([\w.]+)[^)]*\)", r"\1 (docs/\2)", markdown)


OPTIONS: Sequence[Option] = tuple(Option(setting) for setting in dataclasses.fields(Settings))
"""What `run` takes, in the order of its help."""


def checked(chosen: Settings) -> Settings:
    """Return settings that fit together. Raises `SettingError`."""
    served = chosen.namespaces
    if chosen.unmatched_namespace and served and chosen.unmatched_namespace not in served:
        raise SettingError(
            f"{PREFIX}UNMATCHED_NAMESPACE={chosen.unmatched_namespace!r} is not one of {PREFIX}NAMESPACES: "
            "nobody would see its Incidents"
        )
    # nobody reads the Runbooks of a namespace that is not served, and its alerts would be lost in silence
    unserved = [name for name in chosen.global_namespaces if name not in served]
    if served and unserved:
        raise SettingError(
            f"{PREFIX}GLOBAL_NAMESPACES: {unserved[0]!r} is not one of {PREFIX}NAMESPACES: nobody reads its Runbooks"
        )
    if chosen.token_secret and chosen.token_files:
        raise SettingError(f"{PREFIX}TOKEN_FILES and {PREFIX}TOKEN_SECRET: set one of them")
    unusable = [key for key in chosen.token_keys if not _KEY.fullmatch(key)]
    if chosen.token_secret and unusable:
        raise SettingError(f"{PREFIX}TOKEN_KEYS: {unusable[0]!r} is not a valid key of a Secret")
    if (chosen.tls_cert is None) != (chosen.tls_key is None):
        raise SettingError(f"{PREFIX}TLS_CERT and {PREFIX}TLS_KEY: set both or none")
    return chosen
