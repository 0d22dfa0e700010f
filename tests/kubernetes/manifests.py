"""Objects that the tests of actions start from."""

from tests.kubernetes.fake_store import Object


def deployment(name="web", namespace="prod", replicas=2, **pod_spec) -> Object:
    labels = {"app": name}
    container = {"name": "main", "image": "incident-operator.dev/pause:1"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container], **pod_spec}},
        },
    }


def statefulset(name, **more) -> Object:
    return {**deployment(name, **more), "kind": "StatefulSet"}


def pod(name, namespace="prod", labels=None, containers=("main",), annotations=None, **status) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels or {"app": "web"},
            "annotations": annotations or {},
        },
        "spec": {"containers": [{"name": container, "image": "x"} for container in containers]},
        "status": status,
    }


def autoscaler(target, namespace="prod", name="scaler") -> Object:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "minReplicas": 1,
            "maxReplicas": 3,
        },
    }


def service_account(name, namespace="prod") -> Object:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}


def managed(made: Object, *writers: tuple[str, str, str]) -> Object:
    """The object as (manager, operation, subresource) wrote its replicas, the last of them now."""
    entries = [
        {
            "manager": manager,
            "operation": operation,
            "apiVersion": "apps/v1",
            "time": "2025-10-21T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:replicas": {}}},
            **({"subresource": subresource} if subresource else {}),
        }
        for manager, operation, subresource in writers
    ]
    return {**made, "metadata": {**made["metadata"], "managedFields": entries}}
