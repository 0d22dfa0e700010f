"""The manifest of a Job: what runs when somebody says "run this once, like that workload"."""

import re
from dataclasses import replace

import pytest

from incident_operator.actions import pods, workloads
from incident_operator.actions.job import template as job_template
from incident_operator.actions.job.job import Job
from incident_operator.core.outcomes import Unusable
from tests.actions.calls import INCIDENT_UID, call
from tests.kubernetes.manifests import deployment

MAIN = {
    "name": "main",
    "image": "scheduler:7",
    "command": ["serve"],
    "args": ["--forever"],
    "env": [
        {"name": "DB", "valueFrom": {"secretKeyRef": {"name": "db", "key": "url"}}},
        {"name": "MODE", "value": "x"},
    ],
    "envFrom": [{"configMapRef": {"name": "settings"}}],
    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    "resources": {"limits": {"memory": "1Gi"}},
    "securityContext": {"runAsNonRoot": True},
    "ports": [{"containerPort": 80, "hostPort": 80}],
    "livenessProbe": {"httpGet": {"port": 80}},
    "readinessProbe": {"httpGet": {"port": 80}},
    "startupProbe": {"httpGet": {"port": 80}},
    "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
}
SIDECAR = {"name": "shipper", "image": "shipper:1"}
NATIVE = {"name": "proxy", "image": "proxy:1", "restartPolicy": "Always", "ports": [{"containerPort": 5432}]}


def scheduler():
    made = deployment("scheduler")
    template = made["spec"]["template"]
    template["metadata"]["annotations"] = {"vault/inject": "yes", "kubectl.kubernetes.io/restartedAt": "yesterday"}
    template["spec"] = {
        "containers": [MAIN, SIDECAR],
        "initContainers": [NATIVE, {"name": "migrate", "image": "scheduler:7"}],
        "volumes": [{"name": "data", "emptyDir": {}}],
        "serviceAccountName": "scheduler",
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "batch"}],
        "affinity": {"nodeAffinity": {"a": 1}, "podAntiAffinity": {"b": 2}, "podAffinity": {"c": 3}},
        "topologySpreadConstraints": [{"maxSkew": 1}],
        "restartPolicy": "Always",
    }
    return made


def job(command=("python3", "-m", "jobs.build_pack"), **more):
    return Job(**{"from": "deployment/scheduler", "command": list(command), **more})


def manifest(spec):
    return job_template.manifest(call(spec), job_template.from_workload(scheduler(), spec))


def pod_of(spec):
    return manifest(spec)["spec"]["template"]["spec"]


def test_the_chosen_container_runs_the_command_and_nothing_beside_it():
    [container] = pod_of(job())["containers"]
    assert container["name"] == "main"
    assert container["command"] == ["python3", "-m", "jobs.build_pack"]
    assert "args" not in container


def test_without_a_command_the_containers_own_runs():
    [container] = pod_of(job(command=()))["containers"]
    assert (container["command"], container["args"]) == (["serve"], ["--forever"])


def test_another_container_can_be_named():
    [container] = pod_of(job(container="shipper"))["containers"]
    assert (container["name"], container["image"]) == ("shipper", "shipper:1")


@pytest.mark.parametrize("kept", ["image", "envFrom", "volumeMounts", "resources", "securityContext"])
def test_what_the_container_needs_to_work_is_kept(kept):
    assert pod_of(job())["containers"][0][kept] == MAIN[kept]


@pytest.mark.parametrize("dropped", ["ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle"])
def test_what_belongs_to_serving_is_left_out(dropped):
    assert dropped not in pod_of(job())["containers"][0]


@pytest.mark.parametrize("kept", ["volumes", "serviceAccountName", "imagePullSecrets", "nodeSelector", "tolerations"])
def test_what_the_pod_needs_to_work_is_kept(kept):
    assert pod_of(job())[kept] == scheduler()["spec"]["template"]["spec"][kept]


def test_a_pod_need_not_keep_away_from_its_like():
    pod = pod_of(job())
    assert pod["affinity"] == {"nodeAffinity": {"a": 1}}
    assert "topologySpreadConstraints" not in pod


def test_init_containers_run_first_native_sidecars_too():
    proxy, migrate = pod_of(job())["initContainers"]
    assert (proxy["name"], proxy["restartPolicy"], migrate["name"]) == ("proxy", "Always", "migrate")
    assert "ports" not in proxy


def test_no_service_finds_the_pod_by_the_workloads_labels():
    meta = manifest(job())["spec"]["template"]["metadata"]
    assert meta["labels"] == {"app.kubernetes.io/managed-by": "incident-operator", "incidents.dev/step": "act"}


def test_annotations_are_kept_but_for_the_last_restart():
    assert manifest(job())["spec"]["template"]["metadata"]["annotations"] == {"vault/inject": "yes"}


def test_variables_are_added_and_override():
    env = pod_of(job(env={"MODE": "force", "DATE": "2025-10-21"}))["containers"][0]["env"]
    assert env == [MAIN["env"][0], {"name": "MODE", "value": "force"}, {"name": "DATE", "value": "2025-10-21"}]


def test_it_runs_once_for_as_long_as_the_step_may_take():
    made = manifest(job())
    pod = made["spec"]["template"]["spec"]
    assert (made["spec"]["backoffLimit"], pod["activeDeadlineSeconds"]) == (0, 60)
    assert made["spec"]["activeDeadlineSeconds"] == 60 + 30 + 5, (
        "the kubelet ends its Pod first, which then stays to be read"
    )
    assert made["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert "ttlSecondsAfterFinished" not in made["spec"]


def test_it_belongs_to_its_incident_and_carries_a_marker_that_nobody_else_can_know():
    made = manifest(job())
    step = call(job())
    assert made["metadata"]["annotations"] == {"incidents.dev/step-key": step.marker}
    assert made["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "incidents.dev/v1alpha1",
            "kind": "Incident",
            "name": step.incident,
            "uid": INCIDENT_UID,
            "controller": False,
            "blockOwnerDeletion": False,
        }
    ]


@pytest.mark.parametrize("step", ["rebuild", "a" * 63, "undo-" + "b" * 63])
def test_its_name_is_a_label_and_tells_step_and_key(step):
    key = "0123456789abcdef" * 4
    name = job_template.name(step, key)
    assert len(name) <= 63
    assert name == f"{step[:52]}-0123456789"


def test_its_name_changes_with_what_runs_and_with_the_marker_and_nobody_else_can_tell_it():
    names = {
        job_template.manifest(one, job_template.from_workload(scheduler(), one.spec))["metadata"]["name"]
        for one in (call(job()), call(job(env={"A": "b"})), call(job(), attempt=2), replace(call(job()), key="other"))
    }
    assert len(names) == 3
    assert not any(name.endswith(call(job()).key[:10]) for name in names)


def test_what_a_person_binds_is_all_that_runs_and_the_same_for_every_attempt():
    first, second = (
        job_template.manifest(call(job(), attempt=attempt), job_template.from_workload(scheduler(), job()))
        for attempt in (1, 2)
    )
    assert first["spec"]["suspend"] is True
    assert job_template.bound(first) == job_template.bound(second)
    assert job_template.bound(first)["spec"] == {key: first["spec"][key] for key in first["spec"] if key != "suspend"}
    assert job_template.bound(first)["metadata"] == {"labels": first["metadata"]["labels"]}


def database(**more):
    """A StatefulSet whose Pods have a claim each."""
    mounts = [{"name": "data", "mountPath": "/data"}, {"name": "settings", "mountPath": "/etc/db"}]
    main = {
        "name": "db",
        "image": "db:1",
        "volumeMounts": mounts,
        "volumeDevices": [{"name": "raw", "devicePath": "/dev/x"}],
    }
    init = {"name": "chown", "image": "db:1", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    made = deployment("db")
    spec = {
        "containers": [main],
        "initContainers": [init],
        "volumes": [{"name": "settings", "configMap": {"name": "s"}}],
        **more,
    }
    made["spec"]["template"]["spec"] = spec
    made["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data"}}, {"metadata": {"name": "raw"}}]
    return {**made, "kind": "StatefulSet"}


def test_mounts_of_claims_that_only_the_workloads_own_pods_have_are_left_behind_and_told():
    spec = Job(**{"from": "statefulset/db"})
    pod = job_template.from_workload(database(), spec)["spec"]
    assert pod["containers"][0]["volumeMounts"] == [{"name": "settings", "mountPath": "/etc/db"}]
    assert (pod["containers"][0]["volumeDevices"], pod["initContainers"][0]["volumeMounts"]) == ([], [])
    assert job_template.left_behind(database(), spec) == [
        "/data of container db: volume data is a claim of each Pod",
        "/dev/x of container db: volume raw is a claim of each Pod",
        "/data of container chown: volume data is a claim of each Pod",
    ]


def test_a_claim_that_the_template_names_as_a_volume_too_is_mounted():
    made = database(volumes=[{"name": name, "emptyDir": {}} for name in ("data", "settings", "raw")])
    assert job_template.left_behind(made, Job(**{"from": "statefulset/db"})) == []
    assert (
        len(
            job_template.from_workload(made, Job(**{"from": "statefulset/db"}))["spec"]["containers"][0]["volumeMounts"]
        )
        == 2
    )


def with_default(container):
    made = scheduler()
    made["spec"]["template"]["metadata"]["annotations"] = {pods.DEFAULT_CONTAINER: container}
    return made


@pytest.mark.parametrize(
    ("annotated", "named", "chosen"),
    [("shipper", None, "shipper"), ("shipper", "main", "main"), ("nobody", None, "main"), ("main", None, "main")],
)
def test_the_container_is_the_one_that_exec_and_logs_take(annotated, named, chosen):
    spec = job(container=named)
    made = job_template.from_workload(with_default(annotated), spec)
    assert [one["name"] for one in made["spec"]["containers"]] == [chosen]
    assert made["metadata"]["annotations"] in ({pods.DEFAULT_CONTAINER: chosen}, {}), "never one that is not there"


def test_a_templates_own_annotation_chooses_the_container_that_runs_the_command():
    template = {
        "metadata": {"annotations": {pods.DEFAULT_CONTAINER: "shipper"}},
        "spec": {"containers": [MAIN, SIDECAR]},
    }
    spec = Job(template=template, command=["x"])
    main, shipper = job_template.pod_spec(spec, template)["containers"]
    assert (main["command"], shipper["command"]) == (["serve"], ["x"])
    assert job_template.meant(template) == "shipper"


@pytest.mark.parametrize(
    "template",
    [{}, {"spec": {"containers": [1]}}, {"metadata": 1, "spec": {"containers": []}}, {"metadata": {"annotations": 3}}],
)
def test_a_template_of_any_shape_can_be_asked_which_container_it_means(template):
    assert job_template.meant(template) == ""


LABELLED = {"app": "scheduler", "azure.workload.identity/use": "true"}


def labelled():
    made = scheduler()
    made["spec"]["template"]["metadata"]["labels"] = dict(LABELLED)
    return made


def kept(workload=None, **keep):
    return job_template.from_workload(workload or labelled(), job(keep=keep))["metadata"]


def test_labels_that_are_named_are_kept_and_no_others():
    wanted = {"labels": ["azure.workload.identity/use"]}
    assert kept(**wanted)["labels"] == {"azure.workload.identity/use": "true"}
    meta = job_template.manifest(call(job()), job_template.from_workload(labelled(), job(keep=wanted)))["spec"][
        "template"
    ]["metadata"]
    assert meta["labels"]["incidents.dev/step"] == "act", "the Job's own are there too"
    assert "labels" not in kept()


def test_annotations_are_all_kept_unless_some_are_named():
    assert kept()["annotations"] == {"vault/inject": "yes"}
    assert kept(annotations=[])["annotations"] == {}
    assert kept(annotations=["vault/inject"])["annotations"] == {"vault/inject": "yes"}


@pytest.mark.parametrize(
    ("keep", "told"),
    [
        ({"labels": ["azure.workload.identity/us"]}, "have no label azure.workload.identity/us; they have app, azure.workload.identity/use"),
        ({"annotations": ["x"]}, "have no annotation x; they have vault/inject"),
        ({"labels": ["app"]}, "with app=scheduler the Job's Pod would be one of the workload's own"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused(keep, told):
    with pytest.raises(Unusable, match=re.escape(told)):
        kept(**keep)


def test_a_cronjob_selects_no_pods_so_any_of_its_labels_may_be_kept():
    cron = {"spec": {"jobTemplate": {"spec": {"template": labelled()["spec"]["template"]}}}}
    assert kept(cron, labels=["app"])["labels"] == {"app": "scheduler"}


def test_a_job_can_be_made_from_a_cronjob():
    made = scheduler()
    cron = {
        "kind": "CronJob",
        "spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": made["spec"]["template"]}}},
    }
    assert job_template.from_workload(cron, job()) == job_template.from_workload(made, job())
    assert workloads.path("prod", "cronjob/pack") == "/apis/batch/v1/namespaces/prod/cronjobs/pack"
    assert Job(**{"from": "cronjob/pack"}).source == "cronjob/pack"


@pytest.mark.parametrize(("grace", "longest"), [(None, 95), (0, 65), (1, 66), (600, 110)])
def test_a_pod_that_is_late_is_ended_by_the_kubelet_before_the_job_deletes_it(grace, longest):
    made = scheduler()
    if grace is not None:
        made["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = grace
    spec = job_template.manifest(call(job()), job_template.from_workload(made, job()))["spec"]
    assert (spec["template"]["spec"]["activeDeadlineSeconds"], spec["activeDeadlineSeconds"]) == (60, longest)


@pytest.mark.parametrize(("asked", "made"), [(None, 60), (5, 5), (900, 60), ("x", "x")])
def test_a_templates_own_deadline_holds_where_it_is_sooner(asked, made):
    spec = {
        "containers": [MAIN],
        "terminationGracePeriodSeconds": "x",
        **({"activeDeadlineSeconds": asked} if asked else {}),
    }
    job = job_template.manifest(call(Job(template={"spec": spec})), {"spec": spec})["spec"]
    assert (job["template"]["spec"]["activeDeadlineSeconds"], job["activeDeadlineSeconds"]) == (made, 95)


def test_the_job_itself_tells_that_its_pod_was_disrupted():
    rules = manifest(job())["spec"]["podFailurePolicy"]["rules"]
    assert rules == [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]


def test_the_workload_itself_is_not_touched():
    workload = scheduler()
    before = repr(workload)
    job_template.manifest(call(job(env={"MODE": "y"})), job_template.from_workload(workload, job()))
    assert repr(workload) == before


def test_a_template_of_the_runbooks_own_is_taken_as_it_is():
    template = {
        "metadata": {"labels": {"team": "data"}},
        "spec": {"restartPolicy": "OnFailure", "containers": [MAIN, SIDECAR]},
    }
    spec = Job(template=template, command=["x"])
    made = job_template.manifest(call(spec), job_template.checked(template))["spec"]["template"]
    assert made["spec"]["containers"] == [
        {key: value for key, value in MAIN.items() if key != "args"} | {"command": ["x"]},
        SIDECAR,
    ]
    assert made["spec"]["restartPolicy"] == "Never"
    assert made["metadata"]["labels"]["team"] == "data"


@pytest.mark.parametrize(
    "template",
    [
        {},
        {"spec": None},
        {"spec": {}},
        {"spec": {"containers": "main"}},
        {"spec": {"containers": []}},
        {"spec": {"containers": ["main"]}},
        {"spec": {"containers": [{"image": "x"}]}},
        {"spec": {"containers": [{"name": "x", "env": [{"value": "1"}]}]}},
        {"metadata": 1, "spec": {"containers": [{"name": "x"}]}},
        {"metadata": {"annotations": "x"}, "spec": {"containers": [{"name": "x"}]}},
        {"metadata": {"labels": ["x"]}, "spec": {"containers": [{"name": "x"}]}},
    ],
)
def test_a_template_that_is_none_is_refused(template):
    with pytest.raises(Unusable, match="template"):
        job_template.manifest(call(job()), job_template.checked(template))


def test_a_container_that_is_not_there_is_told_with_what_is():
    with pytest.raises(Unusable, match="there is no container cron; there is main, shipper"):
        manifest(job(container="cron"))
