"""Who takes part: people by client certificate, service accounts by token, and what each may do."""

from typing import Any

OPERATOR = "system:serviceaccount:incident-operator-system:incident-operator"
COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"
NAMESPACE_CONTROLLER = "system:serviceaccount:kube-system:namespace-controller"

ALICE = "alice@dawsos.com"
"""May approve."""
CAROL = "carol@dawsos.com"
"""May approve, too."""
BOB = "bob@dawsos.com"
"""May approve, but edited the Runbook."""
DAVE = "dave@dawsos.com"
"""May respond only."""
MALLORY = "mallory@dawsos.com"
"""May patch everything, and has neither verb."""
ERIN = "oidc:erin:ops"
"""May approve; has colons in her name."""
FRANK = "Frank van Dam"
"""May approve; has blanks in his name."""
GRACE = 'Hopper,  Grace "Amazing", O=ops'
"""May approve; has commas, two blanks in a row and quotes in her name."""
HENRY = "h" * 253
"""May approve; has the longest name that can be excluded."""
IDA = f"{HENRY}i"
"""May approve; has a longer one."""
ADMIN = "the administrator"
"""Whoever holds the cluster's own kubeconfig."""
JUDY = "judy@dawsos.com"
"""May acknowledge, and nothing else."""
HEIDI = "heidi@dawsos.com"
"""May say that an alert is over, and nothing else."""
BOT = "bot"
"""A service account of the namespace with the verb approve."""

CERTIFIED = (ALICE, CAROL, BOB, DAVE, MALLORY, ERIN, JUDY, HEIDI)
IMPERSONATED = (FRANK, GRACE, HENRY, IDA, OPERATOR, COLLECTOR, NAMESPACE_CONTROLLER)
"""Names that a certificate of the test cluster cannot carry, or whose keys it does not give away."""

APPROVERS = (ALICE, CAROL, BOB, ERIN, FRANK, GRACE, HENRY, IDA)
RUNBOOK = "rb"

_EVERYTHING = ["get", "create", "update", "patch", "delete"]


def bot(namespace: str) -> str:
    """The user name of the service account."""
    return f"system:serviceaccount:{namespace}:{BOT}"


def rights(namespace: str) -> list[dict[str, Any]]:
    """RBAC by which only the policies stand between these people and an Incident."""
    patchers = [_user(name) for name in (*CERTIFIED, FRANK, GRACE, HENRY, IDA)]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _named(BOT, namespace)},
        _role("writes", namespace, ["incidents", "incidents/status", "runbooks"], _EVERYTHING),
        _binding("writes", namespace, [*patchers, _account(namespace)]),
        _role("approves", namespace, ["runbooks"], ["approve"], [RUNBOOK]),
        _binding("approves", namespace, [*(_user(name) for name in APPROVERS), _account(namespace)]),
        _role("responds", namespace, ["runbooks", "incidents"], ["respond"]),
        _binding("responds", namespace, [_user(DAVE)]),
        _role("acknowledges", namespace, ["runbooks"], ["acknowledge"], [RUNBOOK]),
        _binding("acknowledges", namespace, [_user(JUDY)]),
        _role("ends", namespace, ["runbooks"], ["over"], [RUNBOOK]),
        _binding("ends", namespace, [_user(HEIDI)]),
    ]


def _role(
    name: str, namespace: str, resources: list[str], verbs: list[str], names: list[str] | None = None
) -> dict[str, Any]:
    rule = {"apiGroups": ["incidents.dev"], "resources": resources, "verbs": verbs}
    if names:
        rule["resourceNames"] = names
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": _named(name, namespace),
        "rules": [rule],
    }


def _binding(name: str, namespace: str, subjects: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": _named(name, namespace),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": subjects,
    }


def _named(name: str, namespace: str) -> dict[str, str]:
    return {"name": name, "namespace": namespace}


def _user(name: str) -> dict[str, str]:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}


def _account(namespace: str) -> dict[str, str]:
    return {"kind": "ServiceAccount", "name": BOT, "namespace": namespace}
