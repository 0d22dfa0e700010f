"""The chart as helm renders it: what it grants, what it trusts, what a restricted namespace asks for."""

import json
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from incident_operator import policies, settings
from incident_operator.api.meta import Severity
from incident_operator.core.alerts.matching import AlertScope
from incident_operator.core.runbooks.reviews import Leave, UnaskedStep
from tests.crds import live
from tests.environments import settings_of

pytestmark = pytest.mark.cluster

CHART = live.CLONE / "charts" / "incident-operator"
SERVED = "--api-versions=admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"
USERNAME = "system:serviceaccount:ops:incident-operator"

Json = dict[str, Any]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run helm on the chart, with no cluster."""
    words = [live.program("helm"), *arguments]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


@cache
def rendered(*arguments: str) -> tuple[Json, ...]:
    """The manifests of a release in namespace ops."""
    done = helm("template", "incident-operator", str(CHART), "--namespace=ops", *arguments)
    assert done.returncode == 0, done.stderr
    return tuple(document for document in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if document)


def of_kind(kind: str, *arguments: str) -> dict[str, Json]:
    """The release's manifests of one kind, by name."""
    return {found["metadata"]["name"]: found for found in rendered(*arguments) if found["kind"] == kind}


def container(*arguments: str) -> Json:
    """The operator's container."""
    return pod(*arguments)["containers"][0]


def pod(*arguments: str) -> Json:
    """The Pod spec of the Deployment."""
    return of_kind("Deployment", *arguments)["incident-operator"]["spec"]["template"]["spec"]


def environment(*arguments: str) -> dict[str, str]:
    """The container's environment."""
    return {variable["name"]: variable["value"] for variable in container(*arguments)["env"]}


DIGEST = f"sha256:{'a' * 64}"
EVERYTHING_ON = (
    "--set=namespaces={prod,shop},networkPolicy.enabled=true,podDisruptionBudget.enabled=true",
    "--set=webhook.tls.secretName=tls,unmatchedNamespace=prod,acting.shop=false,acting.prod=true",
    "--set=namespaceLabel=team,globalNamespaces={shop},severityCeiling.shop=P2,severityCeiling.dev=P3",
    f"--set=unasked[0].namespace=prod,unasked[0].runbook=rb,unasked[0].step=block,unasked[0].digest={DIGEST}",
)


@pytest.mark.parametrize("arguments", [(), EVERYTHING_ON], ids=["defaults", "everything on"])
def test_helm_lint_has_nothing_to_say(arguments: tuple[str, ...]) -> None:
    done = helm("lint", "--strict", str(CHART), *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def _rules(*arguments: str) -> Iterator[tuple[str, Json]]:
    for kind in ("ClusterRole", "Role"):
        for name, role in of_kind(kind, *arguments).items():
            yield from ((name, rule) for rule in role["rules"])


def test_no_role_holds_a_wildcard() -> None:
    rules = list(_rules(*EVERYTHING_ON))
    assert len(rules) > 10
    assert [name for name, rule in rules if "*" in json.dumps(rule)] == []


def test_the_operator_reads_no_secret_and_impersonates_nobody_cluster_wide() -> None:
    granted = [rule for name, rule in _rules() if name == "incident-operator"]
    assert not any({"secrets", "pods", "users", "groups"} & set(rule["resources"]) for rule in granted)
    assert not any(
        {"impersonate", "deletecollection", "update", "escalate", "bind"} & set(rule["verbs"]) for rule in granted
    )
    bound = of_kind("ClusterRoleBinding", *EVERYTHING_ON)
    assert [binding["roleRef"]["name"] for binding in bound.values()] == ["incident-operator"]


def test_what_holds_everywhere_is_to_read_its_own_kinds_and_the_policies() -> None:
    granted = [rule for name, rule in _rules(*EVERYTHING_ON) if name == "incident-operator"]
    assert {verb for rule in granted for verb in rule["verbs"]} == {"get", "list", "watch"}
    assert {group for rule in granted for group in rule["apiGroups"]} == {
        "incidents.dev",
        "admissionregistration.k8s.io",
    }


def test_it_writes_and_acts_only_in_the_namespaces_that_are_listed() -> None:
    bindings = [found for found in rendered(*EVERYTHING_ON) if found["kind"] == "RoleBinding"]
    assert sorted((found["metadata"]["namespace"], found["roleRef"]["name"]) for found in bindings) == [
        ("ops", "incident-operator-lease"),
        ("ops", "incident-operator-secrets"),
        ("prod", "incident-operator-impersonator"),
        ("prod", "incident-operator-writer"),
        ("shop", "incident-operator-impersonator"),
        ("shop", "incident-operator-writer"),
    ]
    assert list(of_kind("RoleBinding")) == ["incident-operator-lease", "incident-operator-secrets"]


def test_what_it_may_do_where_it_serves_is_written_down() -> None:
    rules = [rule for name, rule in _rules() if name == "incident-operator-writer"]
    written = {resource: set(rule["verbs"]) for rule in rules for resource in rule["resources"]}
    assert written == {
        "serviceaccounts": {"get"},
        "incidents": {"create", "patch", "delete"},
        "incidents/status": {"patch"},
        "runbooks/status": {"patch"},
        "connections/status": {"patch"},
        "controllerrevisions": {"get", "create"},
        "events": {"create"},
        "configmaps": {"create", "patch"},
    }


def test_who_writes_where_nobody_is_served_is_warned_and_not_refused() -> None:
    name = "unserved-namespaces.incidents.dev"
    spec = of_kind("ValidatingAdmissionPolicy", *EVERYTHING_ON)[name]["spec"]
    assert spec["matchConstraints"]["namespaceSelector"]["matchExpressions"] == [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["prod", "shop"]}
    ]
    assert spec["failurePolicy"] == "Ignore"
    assert of_kind("ValidatingAdmissionPolicyBinding")[name]["spec"]["validationActions"] == ["Warn"]
    nobody = of_kind("ValidatingAdmissionPolicy")[name]["spec"]["matchConstraints"]
    assert nobody["namespaceSelector"] == {}, "with an empty list nobody is served anywhere"


def test_it_may_use_one_lease_and_only_where_it_lives() -> None:
    role = of_kind("Role")["incident-operator-lease"]
    given = environment()
    assert role["metadata"]["namespace"] == given["INCIDENT_OPERATOR_LEASE_NAMESPACE"] == "ops"
    verbs = {verb: rule.get("resourceNames") for rule in role["rules"] for verb in rule["verbs"]}
    assert verbs == {"create": None, "get": [given["INCIDENT_OPERATOR_LEASE_NAME"]], "patch": ["incident-operator"]}


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((), ["incident-operator-markers", "incident-operator-webhook"]),
        (("--set=webhook.token.existingSecret=mine",), ["incident-operator-markers"]),
    ],
    ids=["its own token", "a token of yours"],
)
def test_it_reads_and_completes_its_own_secrets_and_no_other(arguments: tuple[str, ...], names: list[str]) -> None:
    role = of_kind("Role", *arguments)["incident-operator-secrets"]
    assert role["metadata"]["namespace"] == "ops"
    verbs = {verb: rule.get("resourceNames") for rule in role["rules"] for verb in rule["verbs"]}
    assert verbs == {"create": None, "get": names, "patch": names}
    assert all(rule["resources"] == ["secrets"] for rule in role["rules"])


def test_replicas_are_never_gone_all_at_once() -> None:
    spec = of_kind("Deployment")["incident-operator"]["spec"]
    assert (spec["replicas"], spec["strategy"]["rollingUpdate"]["maxUnavailable"]) == (2, 0)
    assert of_kind("PodDisruptionBudget")["incident-operator"]["spec"]["minAvailable"] == 1
    assert not of_kind("PodDisruptionBudget", "--set=replicas=1")  # it would only keep a node from being drained
    (spread,) = pod()["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    mine = '--set-json=topologySpreadConstraints=[{"maxSkew":2}]'
    assert pod(mine)["topologySpreadConstraints"] == [{"maxSkew": 2}]


def test_the_policies_trust_the_release_and_are_what_it_expects_to_find() -> None:
    for guard in policies.guards(USERNAME):
        found = of_kind(guard.manifest["kind"])[guard.manifest["metadata"]["name"]]
        assert found["spec"] == guard.manifest["spec"]


def test_the_account_of_the_release_writes_only_configmaps_of_incidents() -> None:
    limiting = {"operator-configmaps", "incident-deletion", "label-counts", "incident-hints"}
    assert {f"{name}.incidents.dev" for name in limiting} <= set(of_kind("ValidatingAdmissionPolicy"))
    name = "operator-configmaps.incidents.dev"
    (condition,) = of_kind("ValidatingAdmissionPolicy")[name]["spec"]["matchConditions"]
    assert condition["expression"] == f"request.userInfo.username == '{USERNAME}'"
    assert of_kind("ValidatingAdmissionPolicyBinding")[name]["spec"]["validationActions"] == ["Deny", "Audit"]


def test_another_service_account_is_trusted_where_it_is_named() -> None:
    name = "--set=serviceAccount.name=doctor"
    spec = of_kind("ValidatingAdmissionPolicy", name)["incident-status.incidents.dev"]["spec"]
    assert spec["validations"][0]["expression"] == "request.userInfo.username == 'system:serviceaccount:ops:doctor'"
    assert pod(name)["serviceAccountName"] == "doctor"


def test_stamps_are_installed_only_where_they_are_served() -> None:
    assert not of_kind("MutatingAdmissionPolicy")
    assert set(of_kind("MutatingAdmissionPolicy", SERVED)) == set(of_kind("MutatingAdmissionPolicyBinding", SERVED))
    assert len(of_kind("MutatingAdmissionPolicy", SERVED)) == 2


def test_crds_are_the_generated_ones_and_outlive_the_release() -> None:
    for name, found in of_kind("CustomResourceDefinition").items():
        plain = yaml.safe_load((live.CLONE / "crds" / f"incidents.dev_{name.split('.')[0]}.yaml").read_text())
        assert found["spec"] == plain["spec"]
        assert found["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert len(of_kind("CustomResourceDefinition")) == 3
    assert not of_kind("CustomResourceDefinition", "--set=crds.enabled=false")
    kept = of_kind("CustomResourceDefinition", "--set=crds.keep=false")
    assert not any("annotations" in found["metadata"] for found in kept.values())


def test_only_approvers_approve_and_nobody_becomes_one_by_aggregation() -> None:
    approving = {name for name, rule in _rules() if "approve" in rule["verbs"]}
    assert approving == {"incident-approver"}
    labels = of_kind("ClusterRole")["incident-approver"]["metadata"]["labels"]
    assert not [key for key in labels if key.startswith("rbac.authorization.k8s.io/")]


@pytest.mark.parametrize(
    ("argument", "ignored"),
    [
        ('--set=unmatched.ignore={severity=~"none|info"}', ('severity=~"none|info"',)),
        ("--set-json=unmatched.ignore=[]", ()),
        ("--set=unmatched.ignore=null", ('alertname="Watchdog"', 'alertname="InfoInhibitor"')),
        ("--set=unmatched=null", ('alertname="Watchdog"', 'alertname="InfoInhibitor"')),
    ],
)
def test_what_is_ignored_is_a_value_and_an_earlier_chart_s_values_have_none(
    argument: str, ignored: tuple[str, ...]
) -> None:
    assert settings_of(environment(argument)).unmatched_ignore == ignored


def test_every_variable_is_a_setting_that_the_operator_reads() -> None:
    given = environment(*EVERYTHING_ON)
    assert given.keys() <= {option.variable for option in settings.OPTIONS}
    read = settings_of(given)
    assert read.namespaces == ("prod", "shop")
    assert (read.token_files, read.token_secret, read.token_keys) == ((), "incident-operator-webhook", ("token",))
    assert (str(read.tls_cert), str(read.tls_key)) == (
        "/etc/incident-operator/tls/tls.crt",
        "/etc/incident-operator/tls/tls.key",
    )
    assert (read.webhook_port, read.health_port) == (9095, 8080)
    assert (read.lease_namespace, read.lease_name, read.lease_seconds) == ("ops", "incident-operator", 15)
    assert (read.unmatched_namespace, read.log_format) == ("prod", "json")
    assert read.unmatched_ignore == settings.Settings().unmatched_ignore
    assert read.alert_scope == AlertScope("team", frozenset({"shop"}), "", {"shop": Severity.P2, "dev": Severity.P3})
    assert settings_of(environment()).alert_scope == AlertScope()
    named = frozenset({UnaskedStep("prod", "rb", "block", DIGEST)})
    assert (read.leave, read.unasked_problem) == (Leave(named, frozenset({"shop"})), "")


def test_two_tokens_are_valid_at_once() -> None:
    both = "--set=webhook.token.keys={token,next}"
    files = environment(f"{both},webhook.token.existingSecret=mine")
    tokens = "/etc/incident-operator/tokens"
    assert files["INCIDENT_OPERATOR_TOKEN_FILES"] == f"{tokens}/token,{tokens}/next"
    assert settings_of(environment(both)).token_keys == ("token", "next")


def test_the_token_is_the_operators_to_make_unless_a_secret_is_named() -> None:
    assert not of_kind("Secret")
    assert "tokens" not in {volume["name"] for volume in pod()["volumes"]}
    named = "--set=webhook.token.existingSecret=mine"
    assert not of_kind("Secret", named)
    assert {"name": "tokens", "secret": {"secretName": "mine"}} in pod(named)["volumes"]
    read = settings_of(environment(named))
    assert ([str(path) for path in read.token_files], read.token_secret) == (
        ["/etc/incident-operator/tokens/token"],
        None,
    )


@pytest.mark.parametrize("arguments", [(), EVERYTHING_ON], ids=["defaults", "everything on"])
def test_two_renders_are_the_same_bytes(arguments: tuple[str, ...]) -> None:
    renders = [helm("template", "x", str(CHART), "--namespace=ops", *arguments).stdout for _ in range(2)]
    assert renders[0]
    assert renders[0] == renders[1]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("namespaces={Prod}", "namespaces"),
        ("webhook.port=80", "webhook"),
        ("lease.seconds=0", "seconds"),
        ("webhook.prot=9095", "prot"),
        ("log.format=xml", "format"),
        ("unasked={sqlExecute}", "unasked"),
        ("unasked[0].namespace=prod,unasked[0].step=block", "digest"),
        ("acting.prod=no", "acting"),
        ("webhook.token.keys={a,b,c}", "keys"),
        ("unmatchedNamespace=shop,namespaces={prod}", "unmatchedNamespace: shop is not one of namespaces"),
        ("unmatchedNamespace=shop", "unmatchedNamespace: shop is not one of namespaces"),
        ("namespaceLabel=a b", "namespaceLabel"),
        ("globalNamespaces={Ops}", "globalNamespaces"),
        ("globalNamespaces={ops},namespaces={prod}", "globalNamespaces: ops is not one of namespaces"),
        ("severityCeiling.dev=P9", "severityCeiling"),
        ("severityCeiling.Dev=P2", "Dev"),
    ],
)
def test_a_wrong_value_is_refused_by_name(value: str, says: str) -> None:
    done = helm("template", "x", str(CHART), f"--set={value}")
    assert done.returncode != 0
    assert says in done.stderr


def test_the_notes_tell_where_to_send_alerts_and_what_to_type() -> None:
    done = helm("install", "incident-operator", str(CHART), "--namespace=ops", "--dry-run=client", *EVERYTHING_ON)
    notes = done.stdout.split("NOTES:")[1]
    assert "- url: https://incident-operator.ops.svc:9095/api/v1/alerts" in notes
    for typed in (
        "kubectl get secret -n ops incident-operator-webhook",
        "kubectl get incidents -A",
        "kubectl rollout status",
        "only alerts whose label team names its own namespace; Runbooks in shop take all (globalNamespaces).",
        "set `labels: {team: prod}` in their rule",
        "kubectl get runbooks -A",
    ):
        assert typed in notes


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(EVERYTHING_ON, "metadata.namespace!=prod,metadata.namespace!=shop"), ((), "NO NAMESPACE IS SERVED")],
    ids=["two are", "none is"],
)
def test_the_notes_tell_which_namespaces_are_served(arguments: tuple[str, ...], says: str) -> None:
    done = helm("install", "incident-operator", str(CHART), "--namespace=ops", "--dry-run=client", *arguments)
    assert says in done.stdout.split("NOTES:")[1]
    assert "Earlier charts" not in done.stdout


NEW_VALUES = ("namespaceLabel", "globalNamespaces", "severityCeiling")


@pytest.fixture
def upgrade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Renders, with its notes, an upgrade of a release whose chart had no `NEW_VALUES` and a lower limit of memory."""
    done = helm("install", "incident-operator", str(CHART), "--namespace=ops", "--dry-run=client", "--output=json")
    release = json.loads(done.stdout)
    release["info"]["status"] = "deployed"
    values = release["chart"]["values"]
    for value in NEW_VALUES:
        del values[value]
    values["resources"]["limits"]["memory"] = "512Mi"
    (tmp_path / "releases.yaml").write_text(json.dumps([release]))
    monkeypatch.setenv("HELM_DRIVER", "memory")
    monkeypatch.setenv("HELM_MEMORY_DRIVER_DATA", str(tmp_path / "releases.yaml"))
    monkeypatch.setenv("KUBECONFIG", live.kubeconfig())  # asked for its version only

    def upgraded(*arguments: str) -> str:
        words = ("upgrade", "incident-operator", str(CHART), "--namespace=ops", "--dry-run=client", *arguments)
        done = helm(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return upgraded


def test_an_upgrade_with_an_empty_list_says_what_becomes_of_it(upgrade: Callable[..., str]) -> None:
    notes = upgrade("--reuse-values").split("NOTES:")[1]
    assert "NO NAMESPACE IS SERVED" in notes
    assert "Earlier charts read every namespace with an empty list;" in notes
    assert "incident-operator CHART -n ops --reset-then-reuse-values --set 'namespaces={prod}'" in notes
    assert "says so in `Ready`" in notes


def test_an_upgrade_that_keeps_an_earlier_limit_of_memory_says_so(upgrade: Callable[..., str]) -> None:
    kept, told = upgrade("--reuse-values").split("NOTES:")
    assert "memory: 512Mi" in kept
    assert "THE MEMORY LIMIT IS 512Mi" in told
    fresh, told = upgrade("--reset-then-reuse-values").split("NOTES:")
    assert "memory: 1Gi" in fresh
    assert "MEMORY LIMIT" not in told


def test_values_that_an_earlier_chart_did_not_have_mean_their_defaults(upgrade: Callable[..., str]) -> None:
    manifests = upgrade("--reuse-values").split("MANIFEST:")[1].split("NOTES:")[0]
    found = [
        each for each in yaml.load_all(manifests, Loader=yaml.CSafeLoader) if each and each["kind"] == "Deployment"
    ]
    given = found[0]["spec"]["template"]["spec"]["containers"][0]["env"]
    read = settings_of({variable["name"]: variable["value"] for variable in given})
    assert read.alert_scope == AlertScope()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ("namespaces={prod}", "An alert without that label counts as one of prod, the only namespace that is served."),
        ("namespaces={prod,dev},globalNamespaces={dev}", "An alert without that label goes to these only."),
        ("namespaces={prod,dev}", "An alert without that label goes to no Runbook."),
    ],
)
def test_the_notes_tell_whose_an_alert_without_the_label_is(values: str, told: str) -> None:
    done = helm("install", "incident-operator", str(CHART), "--namespace=ops", "--dry-run=client", f"--set={values}")
    assert told in done.stdout.split("NOTES:")[1]


def test_a_restricted_namespace_takes_the_release() -> None:
    with live.namespace("chart") as namespace:
        live.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted",
                     "pod-security.kubernetes.io/warn=restricted")  # fmt: skip
        text = helm("template", "incident-operator", str(CHART), f"--namespace={namespace}", SERVED).stdout
        done = live.kubectl("apply", "--dry-run=server", "-f", "-", stdin=text)
    assert done.returncode == 0, done.stderr
    assert "deployment.apps/incident-operator created" in done.stdout
    assert "violate PodSecurity" not in done.stderr
