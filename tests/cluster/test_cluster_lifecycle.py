"""The life of a real cluster, on an instance of its own: the cluster that people and other tests use is left alone."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from devcluster import leftovers, mounts, network, processes, settings

pytestmark = pytest.mark.cluster

INSTANCE = 9
HACK = Path(__file__).resolve().parents[2] / "hack"
POD_READY = ("wait", "pod/still", "--for=condition=Ready", "--timeout=60s")


@dataclass(frozen=True)
class Clone:
    """A copy of the cluster program in a directory of its own, as a second clone of the repository has one."""

    root: Path

    @property
    def config(self):
        return settings.from_environment({**os.environ, "CLUSTER_INSTANCE": str(INSTANCE)}, self.root)

    def command(self, *words):
        return [sys.executable, str(self.root / "hack" / "cluster"), *words]

    @property
    def environment(self):
        return {**os.environ, "CLUSTER": "local", "CLUSTER_INSTANCE": str(INSTANCE)}

    def run(self, *words):
        return subprocess.run(
            self.command(*words), env=self.environment, capture_output=True, text=True, check=False, timeout=900
        )

    def must(self, *words):
        done = self.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def kubectl(self, *words, stdin=None):
        program = [self.config.programs / "kubectl", "--kubeconfig", self.config.kubeconfig]
        done = subprocess.run([*program, *words], input=stdin, capture_output=True, text=True, check=False, timeout=90)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def cloned(directory):
    shutil.copytree(HACK, directory / "hack", ignore=shutil.ignore_patterns("__pycache__"))
    return Clone(directory)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    clone = cloned(tmp_path_factory.mktemp("first"))
    yield clone
    clone.run("reset")


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    clone = cloned(tmp_path_factory.mktemp("second"))
    yield clone
    clone.run("reset")


@pytest.fixture
def running(first):
    """The first clone's cluster, up, with a pod in it. Without an image to pull, the pod only waits."""
    wait_in_a_pod(first)
    return first


def wait_in_a_pod(clone):
    """Bring a clone's cluster up, with a pod in it."""
    clone.must("up")
    clone.kubectl("apply", "-f", "-", stdin=POD)
    clone.kubectl(*POD_READY)


RESTARTS = "jsonpath={.status.containerStatuses[0].restartCount}"
POD = """
apiVersion: v1
kind: Pod
metadata: {name: still, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: still, image: "incident-operator.dev/pause:1", imagePullPolicy: IfNotPresent}]
"""


def pids(config):
    return {path.name: int(path.read_text()) for path in (config.runtime / "pids").iterdir()}


def kill_everything(config):
    doomed = [*pids(config).values(), *leftovers.shim_pids(config), *leftovers.container_pids(config)]
    assert len(doomed) >= 10
    for pid in doomed:
        with contextlib.suppress(ProcessLookupError):  # a container ends with the first process in it
            os.kill(pid, signal.SIGKILL)
    while any(processes.state(pid) not in processes.DEAD for pid in doomed):
        time.sleep(0.02)


def log_links(config):
    return [log for log in leftovers.CONTAINER_LOG_LINKS.glob("*") if log.readlink().is_relative_to(config.logs)]


def traces(config):
    """Whatever is left on the machine of this instance: processes, mounts, network, control groups and files."""
    marks = (str(config.runtime).encode(), str(config.state).encode())
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            told = (directory / "cmdline").read_bytes() + (directory / "environ").read_bytes()
            if any(mark in told for mark in marks):
                yield f"process {directory.name}"
    yield from mounts.points_below(mounts.MOUNTINFO.read_text(), [config.runtime, config.state])
    yield from Path("/sys/class/net").glob(config.bridge)
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    yield from (table for table in network.tables_in(tables) if config.bridge in table)
    yield from leftovers.CNI_RESULTS.glob(f"incident-operator-{INSTANCE}-*")
    yield from log_links(config)
    if config.runtime.exists():
        yield config.runtime


def test_an_up_that_was_killed_half_way_is_finished_by_the_next(first):
    first.must("reset")
    begun = subprocess.Popen(first.command("up"), env=first.environment, stdout=subprocess.DEVNULL)
    while not (first.config.runtime / "pids" / "kube-apiserver").exists():
        assert begun.poll() is None
        time.sleep(0.02)
    begun.kill()
    begun.wait()
    first.must("up")
    assert "local" in first.kubectl("get", "nodes", "-o", "name")


def test_up_again_changes_nothing(running):
    before = pids(running.config)
    assert "the cluster is up" in running.must("up")
    assert pids(running.config) == before
    assert "Ready" in running.must("status")


def test_every_component_is_told_as_not_running_once_it_is_dead(running):
    victim = pids(running.config)["kube-scheduler"]
    os.kill(victim, signal.SIGKILL)
    while processes.state(victim) not in processes.DEAD:
        time.sleep(0.02)
    status = running.run("status")
    assert status.returncode == 1
    assert "kube-scheduler           not running" in status.stdout
    others = {name: pid for name, pid in pids(running.config).items() if name != "kube-scheduler"}
    running.must("up")
    assert {name: pid for name, pid in pids(running.config).items() if name != "kube-scheduler"} == others


def test_after_everything_was_killed_up_brings_back_the_data_and_the_pods(running):
    running.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    containers = leftovers.container_pids(running.config)
    kill_everything(running.config)
    assert running.run("status").returncode == 1
    running.must("up")
    assert running.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}") == "b"
    running.kubectl(*POD_READY)
    assert running.kubectl("get", "pod", "still", "-o", RESTARTS) == "1"
    assert not set(containers) & set(leftovers.container_pids(running.config))


def test_a_second_clone_is_told_whose_cluster_it_is_and_touches_nothing(running, second):
    before = pids(running.config)
    for command in ("up", "down", "reset"):
        refused = second.run(command)
        assert refused.returncode == 1
        assert f"belongs to the clone {running.root}" in refused.stderr
        assert f"cd {running.root} && CLUSTER_INSTANCE={INSTANCE} python3 hack/cluster down" in refused.stderr
    assert pids(running.config) == before


def test_the_audit_log_names_who_made_what(running):
    running.kubectl("create", "namespace", "witnessed")
    lines = (running.config.logs / "audit.log").read_text().splitlines()
    made = [line for line in lines if '"verb":"create"' in line and '"name":"witnessed"' in line]
    assert len(made) == 1
    assert '"username":"cluster-admin"' in made[0]


def test_a_user_is_known_by_name_and_group(running):
    kubeconfig = running.must("user", "ann", "--group", "sre").strip()
    assert Path(kubeconfig) == running.config.state / "users" / "ann.kubeconfig"
    first = Path(kubeconfig).read_text()
    running.must("user", "ann", "--group", "sre")
    assert Path(kubeconfig).read_text() == first
    running.must("user", "ann")
    whoami = running.kubectl("--kubeconfig", kubeconfig, "auth", "whoami", "-o", "jsonpath={.status.userInfo}")
    assert '"username":"ann"' in whoami
    assert "sre" not in whoami


def test_down_keeps_the_data_and_leaves_nothing_that_runs(running):
    running.kubectl("create", "configmap", "over-night", "--from-literal=a=b")
    running.must("down")
    assert list(traces(running.config)) == []
    running.must("up")
    assert running.kubectl("get", "configmap", "over-night", "-o", "jsonpath={.data.a}") == "b"


def test_what_a_dead_cluster_left_behind_is_cleared_by_the_next_clone(running, second):
    kill_everything(running.config)
    assert "clearing what a dead cluster" in second.must("up")
    assert second.kubectl("get", "pods", "-o", "name") == ""
    assert leftovers.container_pids(second.config) == []
    assert log_links(running.config) == []


def test_a_cluster_whose_directory_was_deleted_under_it_is_made_anew(second):
    second.must("up")
    shutil.rmtree(second.config.state, ignore_errors=True)
    second.must("up")
    assert "local" in second.kubectl("get", "nodes", "-o", "name")


def test_reset_leaves_nothing_of_the_cluster_and_all_else_as_it_was(first, second):
    wait_in_a_pod(second)
    images = second.config.images
    images.mkdir()
    (images / "kept.tar").write_text("")
    others = list(settings.RUNTIME_ROOT.glob("[0-8]/pids/*"))
    before = {path: path.read_text() for path in others}
    second.must("reset")
    assert list(traces(first.config)) == []
    assert list(traces(second.config)) == []
    assert [path.name for path in second.config.state.iterdir() if path.name != ".gitignore"] == ["images"]
    for path, text in before.items():
        assert path.read_text() == text
        assert processes.Process(path.name, path, path).pid() == int(text)
