"""What people expect of a cluster: images, pods, Services, names, logs, exec, forwarding, tokens. On the clone's own cluster."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "tests" / "cluster" / "page"
TEXT = b"a page from a pod\n"
NAMESPACE = "cluster-test"


def cluster(*words):
    command = [sys.executable, str(ROOT / "hack" / "cluster"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def environment():
    cluster("up")
    exported = re.findall(r"^export (\w+)=(.*)$", cluster("env"), re.MULTILINE)
    told = {name: value.replace('"$PATH"', os.environ["PATH"]) for name, value in exported}
    return {**os.environ, **told}


@pytest.fixture(scope="module")
def kubectl(environment):
    def run(*words, stdin=None):
        command = ["kubectl", *words]
        done = subprocess.run(
            command, env=environment, input=stdin, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def page(kubectl):
    """A Deployment of two pods of an image built here, and its Service."""
    build = ("build-image", "--tag", "cluster-test/page:1", "--file", str(PAGE / "Dockerfile"), "--context", str(PAGE))
    cluster(*build)
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
    kubectl("create", "namespace", NAMESPACE)
    kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=MANIFESTS)
    kubectl("rollout", "status", "-n", NAMESPACE, "deployment/page", "--timeout=90s")
    yield build
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


MANIFESTS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: page}
spec:
  replicas: 2
  selector: {matchLabels: {app: page}}
  template:
    metadata: {labels: {app: page}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: page
        image: cluster-test/page:1
        imagePullPolicy: IfNotPresent
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: page}
spec: {selector: {app: page}, ports: [{port: 80, targetPort: 8080}]}
"""


def python_in_pod(kubectl, program):
    return kubectl("exec", "-n", NAMESPACE, "deployment/page", "--", "python3", "-c", program)


def test_an_unchanged_image_is_neither_built_nor_loaded_again(page):
    said = cluster(*page)
    assert "is unchanged" in said
    assert "is loaded" in said


def test_a_service_answers_by_its_name_from_a_pod(kubectl, page):
    program = "import urllib.request as r; print([r.urlopen('http://page.cluster-test.svc').read() for _ in range(8)])"
    assert python_in_pod(kubectl, program).count(repr(TEXT)) == 8


def test_a_service_answers_on_the_host(kubectl, page):
    address = kubectl("get", "service", "-n", NAMESPACE, "page", "-o", "jsonpath={.spec.clusterIP}")
    assert (
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{address}", timeout=5).read() == TEXT
    )


def test_a_name_that_does_not_exist_is_unknown_at_once(kubectl, page):
    program = (
        "import socket\ntry: socket.getaddrinfo('no.such.example', 80)\nexcept socket.gaierror as e: print(e.errno)"
    )
    assert int(python_in_pod(kubectl, program)) == -2


def test_a_pods_log_can_be_read(kubectl, page):
    python_in_pod(kubectl, "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/?asked-for-the-log')")
    assert "asked-for-the-log" in kubectl("logs", "-n", NAMESPACE, "--selector=app=page", "--tail=-1")


def test_a_pods_token_is_accepted_by_the_apiserver(kubectl, page):
    who = json.loads(python_in_pod(kubectl, WHO_AM_I))
    assert who["status"]["userInfo"]["username"] == "system:serviceaccount:cluster-test:default"


WHO_AM_I = """
import json, ssl, urllib.request
account = "/var/run/secrets/kubernetes.io/serviceaccount/"
review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
headers = {"Authorization": "Bearer " + open(account + "token").read(), "Content-Type": "application/json"}
url = "https://kubernetes.default.svc/apis/authentication.k8s.io/v1/selfsubjectreviews"
request = urllib.request.Request(url, json.dumps(review).encode(), headers)
print(urllib.request.urlopen(request, context=ssl.create_default_context(cafile=account + "ca.crt")).read().decode())
"""


def test_a_port_can_be_forwarded(environment, page):
    command = ["kubectl", "port-forward", "-n", NAMESPACE, "service/page", ":80"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as forwarding:
        try:
            port = re.search(r"127\.0\.0\.1:(\d+)", forwarding.stdout.readline())[1]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=5) as answer:
                assert answer.read() == TEXT
        finally:
            forwarding.terminate()


@pytest.mark.parametrize("kind", ["validatingadmissionpolicies", "mutatingadmissionpolicies"])
def test_admission_policies_are_served_in_their_stable_version(kubectl, kind):
    served = json.loads(kubectl("get", "--raw", "/apis/admissionregistration.k8s.io/v1"))
    assert kind in [resource["name"] for resource in served["resources"]]


def test_helm_reaches_the_cluster(environment):
    done = subprocess.run(
        ["helm", "list", "-A"], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("NAME")
