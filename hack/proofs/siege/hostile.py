"""The attacks: what evil writes in its own namespace, and what people have to be told of it. Pure.

Each is of a kind that once stopped the operator for every namespace. Where what is written keeps within the limits by itself, nothing is
told of it, and the attack is judged by what everybody else notices alone.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from proofs.siege.servers import ACCOUNT, EVIL, connection, named
from proofs.siege.told import Told

Json = dict[str, Any]
MIB = 1 << 20
NOT_TAKEN = frozenset({Told.REFUSED, Told.INVALID})
"""A Runbook that no budget allows is refused, or says that it is invalid."""
TOLD_IN_TIME = NOT_TAKEN | {Told.NEEDS_HUMAN, Told.FAILED}
ENDED = frozenset(Told) - {Told.NOTHING}
"""Whatever became of it, it came to an end: what is read may be cut, and is no harm then."""
BUSY = 50


@dataclass(frozen=True, slots=True)
class Attack:
    """One thing that evil does, and goes on doing while the next ones come."""

    name: str
    what: str
    """For the table."""
    objects: Callable[[], Iterable[Json]]
    """Made when they are sent: some weigh a hundred MiB together."""
    accept: frozenset[Told] | None
    """What people may be told of each of its Runbooks, or of their Incidents; None where nothing has to be."""
    alerts: int = 0
    """Alerts for each of its Runbooks, each in a group of its own."""
    severity: str = "P3"
    namespaces: tuple[str, ...] = field(default=(EVIL,))

    @property
    def alertname(self) -> str:
        """Of its alerts."""
        return f"Siege-{self.name}"


def busy_namespaces() -> tuple[str, ...]:
    """The namespaces that are merely busy."""
    return tuple(f"busy-{number:02d}" for number in range(1, BUSY + 1))


def attacks() -> tuple[Attack, ...]:
    """Every attack, in the order in which they begin."""
    return (*_compiled(), *_evaluated(), *_read(), *_heavy(), *_many())


def _compiled() -> Iterator[Attack]:
    """What costs when a Runbook is read and checked."""
    placeholders = "SELECT " + ",".join(["%(a)s"] * 2700)
    matchers = [rf'label{number}!~"\pL{{330}}"' for number in range(19)]
    pattern = {"selector": {"app": "web"}, "pattern": r"(?P<name>" + r"\pL{300}" * 3 + ")"}
    for_ever = {"connection": "web", "path": "/hang"}
    yield Attack(
        "placeholders",
        "a statement of 2,700 placeholders",
        lambda: [_runbook("placeholders", sql=placeholders, params={"a": 1})],
        ENDED,
    )
    yield Attack(
        "matchers", "20 matchers of Unicode classes", lambda: [_runbook("matchers", match=matchers)], NOT_TAKEN
    )
    yield Attack(
        "pattern",
        "a pattern of Unicode classes",
        lambda: [_runbook("pattern", diagnose=[_step("read", logs=pattern)])],
        NOT_TAKEN,
    )
    yield Attack(
        "timeout",
        "a timeout of 240 h",
        lambda: [_runbook("timeout", diagnose=[_step("hang", http=for_ever, timeout="240h")])],
        NOT_TAKEN | {Told.WARNED},
    )


def _evaluated() -> Iterator[Attack]:
    """What costs when an expression is evaluated."""
    ten = "'aaaaaaaaaa'" + ".replace('a','aaaaaaaaaa')" * 8
    look = _step("look", http={"connection": "web", "path": "/"}, when=f"({ten}).size() > 0")
    parameter = {"name": "bomb", "type": "string", "from": ten, "pattern": "a+"}
    yield Attack(
        "when", "`when` that builds 1 GB of text", lambda: [_runbook("when", diagnose=[look])], TOLD_IN_TIME, alerts=1
    )
    yield Attack(
        "parameter",
        "a parameter that builds 1 GB of text",
        lambda: [_runbook("parameter", parameters=[parameter])],
        TOLD_IN_TIME,
        alerts=1,
    )


def _read() -> Iterator[Attack]:
    """What costs when a result arrives."""
    column, rows = (
        "SELECT repeat('x', 900000000) AS x",
        "SELECT repeat('y', 1000000) AS y FROM generate_series(1, 1000)",
    )
    wide = "SELECT " + ",".join(f"1 c{number}" for number in range(1599)) + " FROM generate_series(1,100)"
    statement = "UPDATE big SET touched = true RETURNING repeat('y', 1000) AS y"
    execute = {"connection": "database", "statement": statement, "maxRows": 1_000_000}
    everything = {"apiVersion": "v1", "kind": "ConfigMap", "selector": {"siege": "large"}}
    yield Attack(
        "column", "a SQL result of one column of 900 MB", lambda: [_runbook("column", sql=column)], ENDED, alerts=1
    )
    yield Attack(
        "rows", "a SQL result of 1,000 rows of 1 MB", lambda: [_runbook("rows", sql=rows, most=1000)], ENDED, alerts=1
    )
    yield Attack("columns", "a SQL result of 1,599 columns", lambda: [_runbook("columns", sql=wide)], ENDED, alerts=1)
    yield Attack(
        "returning",
        "a trial that returns 600 MB",
        lambda: [_runbook("returning", remediate=[_step("change", sqlExecute=execute)])],
        ENDED,
        alerts=1,
    )
    yield Attack(
        "configmaps",
        "a `get` of 80 ConfigMaps of 1 MB",
        lambda: [*large_configmaps(), _runbook("configmaps", diagnose=[_step("read", get=everything)])],
        ENDED,
        alerts=1,
    )
    yield Attack(
        "body", "an HTTP answer of 1 GiB", lambda: [_runbook("body", diagnose=[_get("/huge")])], ENDED, alerts=1
    )
    yield Attack(
        "secret", "a Secret of 1,024 keys, and 30,000 texts", lambda: [*keys(), _runbook("secret", diagnose=[_get("/texts", "keys")])],
        ENDED, alerts=1,
    )  # fmt: skip


def _heavy() -> Iterator[Attack]:
    """What costs because it is there."""
    yield Attack("sixty", "60 Runbooks of 1.3 MB", sixty, NOT_TAKEN)
    yield Attack("connections", "1,000 Connections with annotations of 100 kB", connections, None)
    yield Attack(
        "labels", "an Incident with 14,000 labels", lambda: [labelled()], frozenset({Told.REFUSED, Told.NEEDS_HUMAN})
    )


def _many() -> Iterator[Attack]:
    """What costs because there is so much of it."""
    hang = _step("hang", http={"connection": "web", "path": "/hang"}, timeout="1h")
    yield Attack(
        "hanging",
        "18 P0 steps that hang",
        lambda: [_runbook("hanging", diagnose=[hang], severity="P0")],
        None,
        alerts=18,
        severity="P0",
    )
    yield Attack("busy", f"{BUSY} busy namespaces of P3", busy, None, alerts=20, namespaces=busy_namespaces())


def sixty() -> Iterator[Json]:
    """Runbooks of 1.3 MB each, by nothing but statements that each keep their own limit."""
    for number in range(60):
        steps = [
            _step(f"s{index}", sqlQuery={"connection": "database", "statement": _padded(index)}) for index in range(81)
        ]
        verifying = [{**step, "expect": "result.rows.size() == 1"} for step in steps[50:]]
        yield _runbook(f"sixty-{number:02d}", diagnose=steps[:50], review={}, verify=verifying)


def _padded(index: int) -> str:
    return f"SELECT {index} /* {'x' * 16_000} */"


def connections() -> Iterator[Json]:
    """Connections that nobody uses."""
    for number in range(1000):
        where = {"url": f"http://nowhere-{number}.{EVIL}.svc"}
        yield connection(f"heavy-{number:04d}", "http", where, annotations={"siege": "x" * 100_000})


def large_configmaps() -> Iterator[Json]:
    """80 of them, to be read together."""
    for number in range(80):
        metadata = {**named(f"large-{number:02d}"), "labels": {"siege": "large"}}
        yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"x": "x" * 1_000_000}}


def keys() -> Iterator[Json]:
    """A Secret of as many credentials as one can be made of, and the Connection that it opens."""
    values = {f"key-{number:04d}": f"{number:04d}" + "s" * 896 for number in range(1023)}
    yield {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": named("keys"),
        "stringData": {**values, "token": "t" * 900},
    }
    yield connection("keys", "http", {"url": f"http://web.{EVIL}.svc:8000"}, "keys")


def labelled() -> Json:
    """An Incident by hand, with as many labels as etcd takes."""
    labels = {f"siege/l{number:05d}": f"v{number:05d}" for number in range(14_000)}
    return {
        "apiVersion": "incidents.dev/v1alpha1",
        "kind": "Incident",
        "metadata": {**named("labelled"), "labels": labels},
        "spec": {},
    }


def busy() -> Iterator[Json]:
    """A Runbook in each of many namespaces, whose Incidents read a little and close with their alert."""
    for namespace in busy_namespaces():
        yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named(ACCOUNT, namespace)}
        yield _may_look(namespace)
        made = _runbook(
            "busy", diagnose=[_step("look", get={"apiVersion": "v1", "kind": "ConfigMap", "name": "kube-root-ca.crt"})]
        )
        made["metadata"]["namespace"] = namespace
        made["spec"]["match"].append(f'namespace="{namespace}"')
        yield made


def _may_look(namespace: str) -> Json:
    """A RoleBinding by which the account of a busy namespace may read there."""
    group = "rbac.authorization.k8s.io"
    kind = {"apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": named(ACCOUNT, namespace)}
    subject = {"kind": "ServiceAccount", **named(ACCOUNT, namespace)}
    return {**kind, "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "view"}, "subjects": [subject]}


def _runbook(
    name: str,
    *,
    match: Iterable[str] = (),
    sql: str = "",
    most: int = 1,
    params: Json | None = None,
    severity: str = "P3",
    **spec: Any,
) -> Json:
    """A Runbook of evil's for the alerts of one attack; `sql` stands for a diagnosis by one query."""
    if sql:
        query = {"connection": "database", "statement": sql, "maxRows": most, **({"params": params} if params else {})}
        spec["diagnose"] = [_step("read", sqlQuery=query)]
    whole = {
        "title": name,
        "severity": severity,
        "serviceAccountName": ACCOUNT,
        "match": [f'alertname="Siege-{name}"', *match],
        "groupBy": ["instance"],
        **{key: value for key, value in spec.items() if value},
    }
    return {"apiVersion": "incidents.dev/v1alpha1", "kind": "Runbook", "metadata": named(name), "spec": whole}


def _step(name: str, **more: Any) -> Json:
    return {"name": name, **more}


def _get(path: str, connection_name: str = "web") -> Json:
    return _step("read", http={"connection": connection_name, "path": path}, timeout="1m")
