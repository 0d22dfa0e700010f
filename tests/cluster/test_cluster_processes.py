"""Recognising what is ours before anything is ended, on real processes and on what the kernel prints."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from devcluster import commands, console, dockerfile, files, kernel, leftovers, mounts, node, ports, processes, users

PATH = "/usr/bin:/bin"
MOUNTINFO = r"""22 1 8:1 / / rw - ext4 /dev/sda rw
30 22 0:20 / /run/one rw shared:5 - tmpfs tmpfs rw
31 30 0:21 / /run/one/deep/er rw - tmpfs tmpfs rw
32 22 0:22 / /run/one-other rw - tmpfs tmpfs rw
33 22 0:23 / /home/with\040blank rw - overlay overlay rw
"""


@pytest.fixture
def process(tmp_path):
    made = processes.Process("sleeper", tmp_path / "pids" / "sleeper", tmp_path / "sleeper.log")
    yield made
    processes.stop(made, grace=5)


def test_a_process_outlives_its_starter_and_is_found_by_its_pid_file(process):
    processes.start(process, ["sleep", "60"], PATH)
    pid = process.pid()
    assert pid is not None
    assert b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert os.getsid(pid) == pid


def test_a_stopped_process_leaves_no_pid_file(process):
    processes.start(process, ["sleep", "60"], PATH)
    pid = process.pid()
    processes.stop(process, grace=5)
    assert processes.state(pid) in processes.DEAD
    assert not process.pid_file.exists()


def test_a_process_that_ignores_being_asked_is_ended(process):
    processes.start(process, [sys.executable, "-c", IGNORES], PATH)
    processes.wait_until(lambda: "ignoring" in process.log.read_text(), 10, process)
    pid = process.pid()
    processes.stop(process, grace=0.2)
    assert processes.state(pid) in processes.DEAD


IGNORES = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ignoring', flush=True); time.sleep(60)"


def test_a_pid_that_now_belongs_to_another_is_not_ours(process):
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        process.pid_file.parent.mkdir(parents=True)
        process.pid_file.write_text(str(stranger.pid))
        assert process.pid() is None
        processes.stop(process, grace=1)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_process_that_is_just_becoming_another_program_is_still_ours(process):
    marked = f"A=1\0{processes.MARK}={process.pid_file}\0".encode()
    answers = iter([b"", b"", marked])
    assert processes.is_marked(os.getpid(), process.pid_file, lambda _: next(answers))


@pytest.mark.parametrize("text", ["", "x", "-1", "999999999"])
def test_a_pid_file_without_a_living_process_is_no_process(process, text):
    process.pid_file.parent.mkdir(parents=True)
    process.pid_file.write_text(text)
    assert process.pid() is None


def test_a_process_that_ends_as_it_starts_is_told_with_the_end_of_its_log(process):
    processes.start(process, ["sh", "-c", "sleep 0.3; echo no such flag; exit 3"], PATH)
    with pytest.raises(console.ClusterError, match=r"sleeper ended as it started.*\n.*no such flag"):
        processes.wait_until(lambda: False, 10, process)


def test_a_program_that_fails_is_told_with_what_it_said():
    with pytest.raises(console.ClusterError, match=r"exit code 3.*\n.*broken"):
        commands.run(["sh", "-c", "echo broken >&2; exit 3"])


def test_a_program_that_is_not_there_is_told_by_name():
    with pytest.raises(console.ClusterError, match="no-such-program is not installed"):
        commands.run(["no-such-program"])


def test_mounts_below_a_directory_come_innermost_first_and_its_neighbours_stay():
    assert mounts.points_below(MOUNTINFO, [Path("/run/one")]) == [Path("/run/one/deep/er"), Path("/run/one")]


def test_a_blank_in_a_mount_point_is_read():
    assert mounts.points_below(MOUNTINFO, [Path("/home/with blank")]) == [Path("/home/with blank")]


@pytest.mark.parametrize(
    ("path", "filesystem"), [("/var/x", "ext4"), ("/run/one/deep/er/x", "tmpfs"), ("/home/with blank/x", "overlay")]
)
def test_the_file_system_of_a_path_is_that_of_the_innermost_mount(path, filesystem):
    assert mounts.filesystem_of(MOUNTINFO, Path(path)) == filesystem


SOCKET = Path("/run/incident-operator/3/containerd.sock")


@pytest.mark.parametrize(
    ("words", "ours"),
    [
        (["/usr/bin/containerd-shim-runc-v2", "-namespace", "k8s.io", "-address", str(SOCKET)], True),
        (["/usr/bin/containerd-shim-runc-v2", "-address", "/run/containerd/containerd.sock"], False),
        (["/usr/bin/containerd-shim-runc-v2", "-address", f"{SOCKET}.other"], False),
        (["vi", str(SOCKET)], False),
        ([""], False),
    ],
)
def test_a_shim_is_ours_by_its_socket(words, ours):
    assert leftovers.is_shim_of(words, SOCKET) is ours


@pytest.mark.parametrize(
    ("line", "ours"),
    [("4:memory:/k8s.io/abc", True), ("0::/k8s.io/abc/child", True), ("4:memory:/k8s.io/abcd", False), ("0::/", False)],
)
def test_a_process_is_in_a_container_by_its_control_group(line, ours):
    assert leftovers.is_in_container(["1:cpu:/", line], frozenset({"abc"})) is ours


def test_a_port_that_is_taken_is_refused_with_its_number():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(console.ClusterError, match=f"etcd cannot listen on 127.0.0.1:{port}"):
            ports.require_free("etcd", [("127.0.0.1", port)])
    ports.require_free("etcd", [("127.0.0.1", port)])


def test_a_lock_is_waited_for(tmp_path):
    lock = tmp_path / "lock"
    holder = [sys.executable, "-c", HOLDS, str(lock)]
    with subprocess.Popen(holder, stdout=subprocess.PIPE, text=True, cwd=Path(files.__file__).parents[1]) as held:
        assert held.stdout.readline() == "held\n"
        with files.locked(lock):
            assert (lock.parent / "written").read_text() == "by the holder"


HOLDS = """
import sys, time, pathlib
from devcluster import files
lock = pathlib.Path(sys.argv[1])
with files.locked(lock):
    print("held", flush=True)
    time.sleep(0.3)
    (lock.parent / "written").write_text("by the holder")
"""


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 64, "-x", "a\nb", 'a"b'])
def test_a_user_whose_name_would_not_survive_in_a_certificate_is_refused(name):
    with pytest.raises(console.ClusterError, match="is not a name"):
        users.checked(users.User(name))


def test_a_user_is_known_only_with_just_the_same_groups():
    review = {"status": {"userInfo": {"username": "ann", "groups": ["sre", "system:authenticated"]}}}
    assert users.is_same_user(review, users.User("ann", ("sre",)))
    assert not users.is_same_user(review, users.User("ann"))
    assert not users.is_same_user(review, users.User("bob", ("sre",)))


def test_context_files_follow_no_link_out_of_the_context(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "link").symlink_to("/etc")
    assert dockerfile.context_files("COPY src /x\n", tmp_path) == (tmp_path / "src" / "link",)


def pod(ready, *started):
    states = [{"state": {"running": {"startedAt": at}} if at else {"waiting": {}}} for at in started]
    return {"status": {"conditions": [{"type": "Ready", "status": ready}], "containerStatuses": states}}


@pytest.mark.parametrize(
    ("described", "stale"),
    [
        (pod("True", "2026-01-01T09:59:59Z"), True),
        (pod("True", "2026-01-01T10:00:00Z"), False),
        (pod("True", "2026-01-01T10:00:01Z", "2026-01-01T09:00:00Z"), True),
        (pod("False", "2026-01-01T09:00:00Z"), False),
        (pod("True", None), False),
        ({"status": {}}, False),
    ],
)
def test_a_pod_that_is_ready_by_a_container_of_before_the_start_is_stale(described, stale):
    assert node.is_ready_by_old_container(described, "2026-01-01T10:00:00Z") is stale


def test_a_node_with_a_taint_is_not_ready_for_pods():
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert node.has_ready_condition(ready)
    assert not node.has_ready_condition({**ready, "spec": {"taints": [{"key": "node.kubernetes.io/not-ready"}]}})


def test_kernel_settings_are_put_back_only_by_the_last_instance_that_leaves(tmp_path):
    for instance in ("0", "9"):
        (tmp_path / instance).mkdir()
        (tmp_path / instance / "owner.json").write_text("{}")
    (tmp_path / "3").mkdir()
    assert kernel.others(tmp_path / "9", tmp_path) == [tmp_path / "0"]
    (tmp_path / "0" / "owner.json").unlink()
    assert kernel.others(tmp_path / "9", tmp_path) == []
