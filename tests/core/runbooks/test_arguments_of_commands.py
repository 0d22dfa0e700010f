"""Data in commands: an argument of what the author wrote, never the program, a script, a module, code, or an option."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from incident_operator.actions import ACTIONS
from incident_operator.api.runbook import Undo
from incident_operator.core.expressions import templates
from incident_operator.core.expressions.cel import StepFact
from incident_operator.core.expressions.templates import RenderError
from incident_operator.core.runbooks import reading
from incident_operator.core.runbooks.compiler import Compiled
from tests.core.runbooks.runbook_texts import NOW, compile_spec, facts

X = "${params.x}"
BOUNDED = {"name": "x", "type": "string", "pattern": "[a-z0-9.-]+", "from": "alert.labels.x"}
TEXTS = {"name": "texts", "logs": {"from": "deployment/web"}, "outputs": {"last": "result.matches[0].text"}}


def problems(act: dict, **more: object) -> dict[str, str]:
    """What the compiler says of a Runbook with this one act: place below the act → message; empty where it compiles."""
    spec = {
        "title": "Commands",
        "severity": "P1",
        "serviceAccountName": "rb",
        "match": ['alertname="A"'],
        "parameters": [BOUNDED],
        "diagnose": [TEXTS],
        "remediate": [{"name": "run", **act}],
        **more,
    }
    found = compile_spec(spec)
    if isinstance(found, Compiled):
        return {}
    return {problem.path.removeprefix("spec.remediate[0]."): problem.message for problem in found}


def exec_of(command: list[str]) -> dict:
    return {"exec": {"target": "pod/box", "command": command}}


def job_of(command: list[str]) -> dict:
    return {"job": {"from": "deployment/web", "command": command}}


def container_of(**fields: object) -> dict:
    return {"name": "main", "image": "tool:1", **fields}


def template_of(*containers: dict, **spec: object) -> dict:
    allowed = {"allow": ["otherContainers"]} if "initContainers" in spec else {}
    return {"job": {"template": {"spec": {"containers": list(containers), **spec}}, **allowed}}


ACCEPTED = [
    ["python3", "-m", "jobs.build_pack", "--date", X, "--force"],  # RB-01
    ["python", "-m", "jobs.replay_dlq", "--provider", X, "--max-retries", "3"],  # RB-03
    ["python3", "-c", "import sys; open('/proc/1/fd/1', 'w').write(sys.argv[1] + chr(10))", X],
    ["python3", "-c", "import json, sys; print(json.dumps(sys.argv[1:]))", X, X, X],
    ["python3.11", "-Im", "jobs.build", X],
    ["python3", "-u", "-W", "ignore", "/app/run.py", X],
    ["python3", "-mjobs.build", X],
    ["redis-cli", "DEL", X],
    ["redis-cli", "EVAL", "return redis.call('DEL', KEYS[1])", "1", X],
    ["build", X],
    ["build", f"--date={X}"],
    ["build", f"--pack.date={X}", f"--run-id={X}"],
    ["build", "--date", X, "--", X],
    ["curl", "--fail", X],
    ["rm", "-f", "--", X],
    ["echo", X],
    ["sh", "-c", 'echo "$1"', "--", X],
    ["sh", "-c", 'echo "$1"', "sh", X],
    ["bash", "-c", "-e", 'echo "$1"', "bash", X],
    ["/bin/bash", "-euxc", 'rm -- "$1"', "bash", X],
    ["bash", "-euo", "pipefail", "-c", 'rm -- "$1"', "bash", X],
    ["sh", "/scripts/run.sh", X],
    ["sh", "-ex", "/scripts/run.sh", f"--host={X}"],
    ["timeout", "5", "sh", "-c", 'echo "$1"', "sh", X],
    ["timeout", "-s", "KILL", X, "build"],
    ["timeout", X, "build", X],
    ["env", "MODE=fast", "build", X],
    ["env", "-i", "-u", "HOME", "python3", "-m", "jobs.build", X],
    ["nice", "-n", "10", "nohup", "build", X],
    ["stdbuf", "-oL", "setsid", "build", X],
    ["sudo", "-u", "postgres", "psql", "-h", X],
    ["su", "postgres", "-c", 'exec vacuumdb "$1"', X],
    ["su", "-", X, "-c", "id"],
    ["xargs", "-n", "1", "rm", X],
    ["chroot", "/mnt", "build", X],
    ["busybox", "sh", "-c", 'echo "$1"', "sh", X],
    ["find", X, "-name", X, "-delete"],
    ["find", "/data", "-name", X, "-exec", "rm", "{}", ";"],
    ["psql", f"--host={X}", "-d", X, "-c", "SELECT 1"],
    ["mysql", "-h", X, "-Ne", "SELECT 1"],
    ["jq", "--arg", "host", X, ".[$host]", "/data/hosts.json"],
    ["jq", "-r", ".name", X],
    ["awk", "-F", X, "{print $1}", "/data/hosts"],
    ["sed", "-n", "1p", X],
    ["sed", "-i", "-e", "s/a/b/", X],
    ["perl", "-lane", "print $F[0]", X],
    ["node", "--enable-source-maps", "app.js", X],
    ["java", "-Xmx2g", "-jar", "/app.jar", X],
    ["java", "-cp", "/app", "jobs.Build", X],
    ["php", "/app/artisan", "queue:retry", X],
    ["kubectl", "get", "nodes", X],
    ["kubectl", "get", "node", X],
    ["kubectl", "exec", X, "--", "redis-cli", "DEL", X],
    ["docker", "restart", X],
    ["systemctl", "restart", "ssh", X],
    ["tini", "--", "build", X],
    ["runuser", "-u", "web", "--", "build", X],
    ["yarn", "replay", X],
    ["pnpm", "run", "replay", "--", X],
    ["bundle", "exec", "rake", "replay", X],
    ["rails", "runner", "/app/replay.rb", X],
    ["yq", "-i", ".a = 1", X],
    ["yq", "eval", ".name", X],
    ["redis-cli", "-h", X, "-n", "2", "UNLINK", X],
    ["redis-cli", "--scan", "--pattern", X],
    ["mongosh", X, "--quiet", "--eval", "db.sessions.drop()"],
    ["curl", "-fsS", "-d", X, f"--url={X}"],
    ["scp", "-P", "22", X, "web-1:/data"],
    ["git", "fetch", "origin", X],
    ["celery", "-A", "app", "purge", "-Q", X],
    ["coverage", "run", "/app/replay.py", X],
    ["coverage", "run", "-m", "app.replay", X],
    ["mongosh", "--host", X, "--port", X, "--eval", "db.sessions.drop()"],
    ["dotnet", "Replay.dll", X],
    ["ip", "link", "set", X, "up"],
    ["pg_dump", f"--dbname={X}", "--file=/data/dump"],
    ["build", "${params.x + '.local'}"],
    ["build", "$${x}", "a$(b)c"],
    ["build", "${steps.texts.outputs.last}"],
    ["build", "--n", "${size(params.x)}"],
]


@pytest.mark.parametrize("command", ACCEPTED, ids=" ".join)
def test_data_may_be_an_argument_of_what_the_author_wrote(command):
    assert (problems(exec_of(command)), problems(job_of(command))) == ({}, {})
    assert problems(template_of(container_of(command=command[:1], args=command[1:]))) == {}


PROGRAM, TEXT, CODE, RUNS = (
    "is the program, which data may not choose",
    "has text around",
    "is code that ",
    "may be what",
)
REFUSED = [
    ([X], 0, PROGRAM),
    ([X, "--force"], 0, PROGRAM),
    ([f"--tool={X}"], 0, PROGRAM),
    ([f"/opt/{X}/bin/run"], 0, PROGRAM),
    (["build", f"a{X}"], 1, TEXT),
    (["build", f"{X}{X}"], 1, TEXT),
    (["build", f"--date={X}{X}"], 1, TEXT),
    (["build", f"--date={X}T00:00"], 1, TEXT),
    (["build", f"--{X}=1"], 1, TEXT),
    (["build", f"-n{X}"], 1, TEXT),
    (["build", f"key={X}"], 1, TEXT),
    (["env", f"HOST={X}", "build"], 1, TEXT),
    (["sh", "-c", f"warm-up --host {X}"], 2, TEXT),
    (["sh", "-c", X], 2, CODE),
    (["/bin/sh", "-ec", X], 2, CODE),
    (["bash", "-xec", X], 2, CODE),
    (["sh", "-lc", X], 2, CODE),
    (["sh", "-c", "-x", X], 3, RUNS),
    (["sh", "-c", "--", X], 3, RUNS),
    (["sh", "+x", X], 2, RUNS),
    (["bash", "-euoc", "pipefail", X], 3, RUNS),
    (["bash", "--rcfile", X], 2, RUNS),
    (["sh", X], 1, RUNS),
    (["bash", "-", X], 2, RUNS),
    (["sh", "-s", X], 2, RUNS),
    (["timeout", "5", "sh", "-c", X], 4, CODE),
    (["timeout", "-k", "1", "5", X], 4, RUNS),
    (["timeout", "--foo", "5", X], 3, RUNS),
    (["env", "bash", "-c", X], 3, CODE),
    (["env", "A=1", "B=2", X], 3, RUNS),
    (["env", "-u", "HOME", "bash", X], 4, RUNS),
    (["env", "-S", X], 2, RUNS),
    (["env", "-S", "bash -c", X], 3, RUNS),
    (["env", "-vSbash -c", X], 2, RUNS),
    (["env", "--split-string=bash -c", X], 2, RUNS),
    (["env", f"--split-string={X}"], 1, CODE),
    (["env", "-", X], 2, RUNS),
    (["python3", "-c", X], 2, CODE),
    (["python3", "-Ic", X], 2, RUNS),
    (["python3", "-m", X], 2, RUNS),
    (["python3.11", X], 1, RUNS),
    (["python3", "-W", "ignore", X], 3, RUNS),
    (["python3", "--unknown", "value", X], 3, RUNS),
    (["nice", "nohup", "setsid", "stdbuf", "-oL", "python", X], 6, RUNS),
    (["nice", "-n", "5", X], 3, RUNS),
    (["xargs", X], 1, RUNS),
    (["xargs", "-I", "{}", "sh", "-c", X], 5, CODE),
    (["su", "-c", X, "web"], 2, CODE),
    (["su", "-", "web", X], 3, RUNS),
    (["su", "web", f"--command={X}"], 2, CODE),
    (["su", "-s", X, "web"], 2, RUNS),
    (["sudo", "-u", "web", X], 3, RUNS),
    (["busybox", X], 1, RUNS),
    (["busybox", "sh", "-c", X], 3, CODE),
    (["chroot", X, "build"], 1, RUNS),
    (["chroot", "/mnt", X], 2, RUNS),
    (["find", "/", "-exec", "sh", "-c", X, ";"], 5, CODE),
    (["find", "/", "-exec", X, ";"], 3, CODE),
    (["sh", "-c", 'exec "$@"', "sh", "bash", "-c", X], 6, CODE),
    (["sh", "-c", 'exec "$@"', "sh", "bash", X], 5, RUNS),
    (["sh", "/scripts/run.sh", "tool", "-c", "a.conf", "sh", X], 6, RUNS),
    (["tool", "-c", "a.conf", "sh", X], 4, RUNS),
    (["sh", "/scripts/run.sh", "sh", X], 3, RUNS),
    (["sh", "/docker-entrypoint.sh", "python3", X], 3, RUNS),
    (["/docker-entrypoint.sh", X], 1, RUNS),
    (["tool", "zsh", X], 2, RUNS),
    (["tool", "eval", X], 2, CODE),
    (["redis-cli", "EVAL", X, "0"], 2, CODE),
    (["mongosh", "--eval", X], 2, CODE),
    (["node", f"--eval={X}"], 1, CODE),
    (["node", "-p", X], 2, RUNS),
    (["node", "-r", X, "app.js"], 2, RUNS),
    (["node", f"--require={X}", "app.js"], 1, RUNS),
    (["perl", "-ne", X], 2, RUNS),
    (["perl", "-I", X, "a.pl"], 2, RUNS),
    (["ruby", "-e", X], 2, CODE),
    (["php", "-r", X], 2, RUNS),
    (["lua", "-l", "socket", X], 3, RUNS),
    (["awk", X, "/data/hosts"], 1, RUNS),
    (["gawk", "-f", X], 2, RUNS),
    (["mawk", "-v", "a=1", X], 3, RUNS),
    (["sed", X], 1, RUNS),
    (["sed", "-n", "-e", X], 3, CODE),
    (["sed", "-e", "p", "-f", X], 4, RUNS),
    (["sed", "-i.bak", X, "/data/hosts"], 2, RUNS),
    (["jq", X], 1, RUNS),
    (["jq", "--arg", "host", "a", X], 4, RUNS),
    (["jq", "-f", X], 2, RUNS),
    (["psql", "-c", X], 2, CODE),
    (["psql", "-Atc", X], 2, RUNS),
    (["psql", "-h", "db", "-f", X], 4, RUNS),
    (["psql", f"--command={X}"], 1, CODE),
    (["mysql", "-e", X], 2, CODE),
    (["mysql", "-Ne", X], 2, RUNS),
    (["mysql", "--execute", X], 2, CODE),
    (["sqlite3", "a.db", X], 2, RUNS),
    (["java", "-jar", X], 2, RUNS),
    (["java", "-Xmx2g", X], 2, RUNS),
    (["npx", X], 1, RUNS),
    (["uv", "run", X], 2, RUNS),
    (["ssh", "web-1", "rm", X], 3, RUNS),
    (["timeout", "5", "ssh", "web-1", X], 4, RUNS),
    (["kubectl", "exec", "web-1", "--", X], 4, RUNS),
    (["kubectl", "exec", "web-1", "--", "sh", "-c", X], 6, CODE),
    (["docker", "exec", "web", X], 3, RUNS),
    (["tar", "-I", X, "-xf", "a.tar"], 2, RUNS),
    (["rsync", "-e", X, "a", "b"], 2, CODE),
    (["rsync", f"--rsync-path={X}", "a", "b"], 1, CODE),
    (["git", "clone", "--upload-pack", X, "a"], 3, CODE),
    (["git", "bisect", "run", X], 3, RUNS),
    (["sort", f"--compress-program={X}", "a"], 1, CODE),
    (["erl", "-eval", X], 2, CODE),
    (["BASH", X], 1, RUNS),
    (["/opt/Python3.13t", "-m", X], 2, RUNS),
    (["toybox", X], 1, RUNS),
    (["runuser", "-u", "web", X], 3, RUNS),
    (["s6-setuidgid", "web", X], 2, RUNS),
    (["systemd-run", "--wait", X], 2, RUNS),
    (["numactl", "--cpunodebind=0", X], 2, RUNS),
    (["unbuffer", "sh", X], 2, RUNS),
    (["perf", "stat", "--", X], 3, RUNS),
    (["bwrap", "--bind", "/", "/", X], 4, RUNS),
    (["sshpass", "-f", "/key", "ssh", "web-1", "rm", X], 6, RUNS),
    (["ip", "netns", "exec", "blue", X], 4, RUNS),
    (["pipx", "run", X], 2, RUNS),
    (["yarn", X], 1, RUNS),
    (["rails", "runner", X], 2, RUNS),
    (["make", "all", X], 2, RUNS),
    (["coverage", "run", X], 2, RUNS),
    (["celery", "-A", X, "worker"], 2, RUNS),
    (["dotnet", X], 1, RUNS),
    (["tsx", X], 1, RUNS),
    (["gojq", X], 1, RUNS),
    (["yq", "e", X], 2, RUNS),
    (["R", "-f", X], 2, RUNS),
    (["gdb", "-p", "1", "-ex", X], 4, RUNS),
    (["mongosh", "db", X], 2, RUNS),
    (["redis-cli", X, "a"], 1, RUNS),
    (["redis-cli", "-n", "2", X], 3, RUNS),
    (["redis-cli", "FUNCTION", "LOAD", X], 3, RUNS),
    (["scp", "-o", X, "a", "b:"], 2, RUNS),
    (["curl", "-sK", X], 2, RUNS),
    (["curl", f"--config={X}"], 1, RUNS),
    (["tcpdump", "-z", X], 2, RUNS),
    (["split", f"--filter={X}", "a"], 1, RUNS),
    (["docker-compose", "exec", "web", X], 3, RUNS),
    (["oc", "rsh", "web-1", X], 3, RUNS),
    (["ansible", "all", "-a", X], 3, RUNS),
]


@pytest.mark.parametrize(("command", "at", "told"), REFUSED, ids=lambda each: " ".join(each) if isinstance(each, list) else "")  # fmt: skip
def test_data_is_never_the_program_nor_its_code(command, at, told):
    for action, act in (("exec", exec_of(command)), ("job", job_of(command))):
        found = problems(act)
        assert set(found) == {f"{action}.command[{at}]"}
        assert told in found[f"{action}.command[{at}]"]


def test_a_refusal_says_what_would_be_right():
    assert problems(exec_of(["timeout", "5", "sh", "-c", X])) == {
        "exec.command[4]": (
            "is code that -c runs; write the code here, and pass the value as an argument after it: "
            """[sh, -c, 'echo "$1"', sh, "${…}"]"""
        )
    }
    assert problems(exec_of(["/usr/bin/python3", X])) == {
        "exec.command[1]": (
            "may be what /usr/bin/python3 runs, which data may not choose; write its program, script or code, "
            """and pass the value as an argument after that: [sh, -c, 'echo "$1"', sh, "${…}"]"""
        )
    }
    assert problems(exec_of(["build", f"a{X}"])) == {
        "exec.command[1]": "has text around its ${…}; an element with data is one whole ${…}, or --name=${…}"
    }


def test_a_command_with_data_is_not_endless():
    assert problems(template_of(container_of(command=["build", *["a"] * 254, X]))) == {}
    told = "is one of 257 elements; a command that takes data has 256 at most"
    assert problems(template_of(container_of(command=["build", *["a"] * 255, X]))) == {
        "job.template.spec.containers[0].command[256]": told
    }
    assert problems(template_of(container_of(command=["a"] * 300))) == {}


def test_a_command_that_names_programs_without_end_takes_no_data():
    assert problems(exec_of(["build", *["mysql"] * 16, X])) == {}
    assert "may be what mysql runs" in problems(exec_of(["build", *["mysql"] * 17, X]))["exec.command[18]"]


SPEC = "job.template.spec"
MAIN = f"{SPEC}.containers[0]"


@pytest.mark.parametrize(
    ("act", "where", "told"),
    [
        (template_of(container_of(args=[X])), f"{MAIN}.args[0]", PROGRAM),
        (template_of(container_of(command=["sh"], args=["-c", X])), f"{MAIN}.args[1]", CODE),
        (template_of(container_of(command=["sh", "-c"], args=[X])), f"{MAIN}.args[0]", CODE),
        (template_of(container_of(command=["python3"], args=[X])), f"{MAIN}.args[0]", RUNS),
        (template_of(container_of(args=["-c", f"warm-up {X}"])), f"{MAIN}.args[1]", TEXT),
        (
            template_of(container_of(), initContainers=[container_of(command=["sh", "-c", X])]),
            f"{SPEC}.initContainers[0].command[2]",
            CODE,
        ),
        (template_of(container_of(command=X)), f"{MAIN}.command", "no data may be in it"),
        (template_of(container_of(args=X)), f"{MAIN}.args", "no data may be in it"),
        (template_of(container_of(env=X)), f"{MAIN}.env", "no data may be in it"),
        (template_of(container_of(env=[X])), f"{MAIN}.env[0]", "no data may be in it"),
        (template_of(X), f"{MAIN}", "no data may be in it"),
        (template_of(container_of(), initContainers=X), f"{SPEC}.initContainers", "no data may be in it"),
        ({"job": {"template": {"spec": X}}}, SPEC, "no data may be in it"),
        (template_of(container_of(env=[{"name": X, "value": "1"}])), f"{MAIN}.env[0].name", "as it is written"),
        (
            template_of(container_of(lifecycle={"postStart": {"exec": {"command": ["sh", "-c", X]}}})),
            f"{MAIN}.lifecycle.postStart.exec.command[2]",
            "as it is written",
        ),
        (
            template_of(container_of(livenessProbe={"exec": {"command": ["probe", X]}})),
            f"{MAIN}.livenessProbe.exec.command[1]",
            "as it is written",
        ),
        (
            template_of(container_of(command=["sh", "-c", "warm-up $(HOST)"], env=[{"name": "HOST", "value": X}])),
            f"{MAIN}.command[2]",
            "holds $(HOST), which Kubernetes replaces by a value that holds ${…}",
        ),
        *((template_of(container_of(image=image)), f"{MAIN}.image", "as it is written") for image in (X, f"tool:{X}")),
        *(
            (
                template_of(container_of(command=["run"], env=[{"name": "A", "value": "1"}, {"name": name, "value": X}])),
                f"{MAIN}.env[1]",
                f"{name} tells a program what to run",
            )
            for name in ("BASH_ENV", "LD_PRELOAD", "NODE_OPTIONS", "PYTHONPATH", "PATH", "GIT_SSH_COMMAND")
        ),
        (
            {"job": {"from": "deployment/web", "command": ["run"], "env": {"HOST": X, "PERL5OPT": X, "ENV": "/a"}}},
            "job.env.PERL5OPT",
            "pass the value in a variable of another name",
        ),
        (
            template_of(container_of(env=[{"name": "A", "value": X}, {"name": "PATH", "value": "/bin:$(A)"}])),
            f"{MAIN}.env[1]",
            "PATH tells a program what to run",
        ),
        (
            template_of(
                container_of(
                    args=["run", "$(B)"], env=[{"name": "A", "value": X}, {"name": "B", "value": "-$(A)"}]
                )
            ),
            f"{MAIN}.args[1]",
            "holds $(B)",
        ),
        (
            {"job": {"from": "deployment/web", "command": ["sh", "-c", "warm-up $(HOST)"], "env": {"HOST": X}}},
            "job.command[2]",
            "holds $(HOST)",
        ),
        (
            {"job": {**template_of(container_of(command=["run", "$(HOST)"]))["job"], "env": {"HOST": X}}},
            f"{MAIN}.command[1]",
            "holds $(HOST)",
        ),
        (
            {
                "job": {
                    "template": {
                        "metadata": {"annotations": {"host": X}},
                        "spec": {
                            "containers": [
                                container_of(
                                    command=["sh", "-c", "$(HOST)"],
                                    env=[{"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "metadata.a"}}}],
                                )
                            ]
                        },
                    }
                }
            },
            f"{MAIN}.command[2]",
            "holds $(HOST)",
        ),
    ],
)  # fmt: skip
def test_a_pod_template_brings_no_data_into_a_command_by_another_way(act, where, told):
    found = problems(act)
    assert list(found) == [where]
    assert told in found[where]


@pytest.mark.parametrize(
    "act",
    [
        template_of(container_of(args=["warm-up", "--host", X])),
        template_of(container_of(command=["python3"], args=["-m", "jobs.build", X])),
        template_of(container_of(command=["build"], args=[f"--host={X}"])),
        template_of(container_of(), initContainers=[container_of(command=["build", X])]),
        template_of(container_of(command=["sh", "-c", 'warm-up "$HOST"'], env=[{"name": "HOST", "value": X}])),
        template_of(container_of(command=["run", "$$(HOST)"], env=[{"name": "HOST", "value": X}])),
        template_of(container_of(command=["run", "$(HOST)"], env=[{"name": "HOST", "value": "web"}])),
        template_of(container_of(command=["run", X], env=[{"name": "PATH", "value": "/app/bin"}])),
        template_of(container_of(args=["run", 5, X])),
    ],
)
def test_a_pod_template_takes_data_as_arguments_and_in_variables(act):
    assert problems(act) == {}


@pytest.mark.parametrize("carrier", ["undo", "probe"])
def test_the_rule_holds_for_whatever_carries_a_command(carrier):
    if carrier == "undo":
        step = {"name": "run", **exec_of(["flush"]), "undo": exec_of(["sh", "-c", X])}
        found = problems({}, remediate=[], mitigate=[step])
        assert CODE in found["spec.mitigate[0].undo.exec.command[2]"]
    else:
        found = problems({**exec_of(["flush"]), "probe": {**exec_of(["sh", "-c", X]), "expect": "true"}})
        assert CODE in found["probe.exec.command[2]"]


@pytest.mark.parametrize(
    ("written", "is_bounded"),
    [
        ({"type": "string"}, False),
        ({"type": "string", "pattern": "[a-z]+"}, True),
        ({"type": "string", "enum": ["a", "b"]}, True),
        ({"type": "int"}, True),
        ({"type": "date"}, True),
        ({"type": "k8sName"}, True),
        ({"type": "duration"}, True),
    ],
)
@pytest.mark.parametrize("element", [X, f"--host={X}", "${string(params.x)}"])
def test_a_string_needs_a_pattern_to_be_an_argument(written, is_bounded, element):
    found = problems(exec_of(["build", element]), parameters=[{"name": "x", "from": "alert.labels.x", **written}])
    told = "parameter x may be any text, and here it is an argument of a command; give it a pattern or an enum"
    assert found == ({} if is_bounded else {"exec.command[1]": told})


ANY_TEXT = {"name": "x", "type": "string", "from": "alert.labels.x"}


@pytest.mark.parametrize(
    "act",
    [
        job_of(["build", X]),
        template_of(container_of(args=["build", X])),
        template_of(container_of(), initContainers=[container_of(command=["build", X])]),
        exec_of(["build", "${steps.handed.outputs.on}"]),
        exec_of(["build", "${steps.handed.outputs}"]),
        exec_of(["build", "${steps.handed}"]),
        exec_of(["build", "${steps.again.outputs.on}"]),
    ],
)
def test_a_string_without_a_pattern_is_told_wherever_it_becomes_an_argument(act):
    handed = {**TEXTS, "name": "handed", "outputs": {"on": "params.x", "other": "result.matches"}}
    again = {**TEXTS, "name": "again", "outputs": {"on": "steps.handed.outputs.on"}}
    found = problems(act, parameters=[ANY_TEXT], diagnose=[handed, again])
    assert ["may be any text" in message for message in found.values()] == [True]


@pytest.mark.parametrize(
    "act",
    [
        {"job": {"from": "deployment/web", "command": ["build"], "env": {"HOST": X}}},
        exec_of(["build", "${steps.handed.outputs.other}"]),
        exec_of(["build", "${steps.handed.state}"]),
    ],
)
def test_a_string_without_a_pattern_may_be_what_is_no_argument(act):
    handed = {**TEXTS, "name": "handed", "outputs": {"on": "params.x", "other": "result.matches[0].text"}}
    assert problems(act, parameters=[ANY_TEXT], diagnose=[handed]) == {}


def rendered(act: dict, value: object):
    read = reading.parse(Undo.model_validate(act), "spec.remediate[0]", ACTIONS)
    template = templates.prepare(read.spec, read.action.rendering, read.path)
    assert template.problems == ()
    return templates.render(template, facts({"x": value}, texts=StepFact("Succeeded", {"last": value})), NOW)


OPTION = "the value begins with -, so the command may read it as an option"
VALUES = [
    (["build", X], "web-1", "web-1"),
    (["build", X], "", ""),
    (["build", X], "a --force", "a --force"),
    (["build", X], "--force", None),
    (["build", X], "-", None),
    (["build", X], -5, None),
    (["build", X], 5, "5"),
    (["build", X], "\u2212x", "\u2212x"),
    (["build", "--", X], "--force", "--force"),
    (["build", "--", "a", X], "-5", "-5"),
    (["build", X, "--"], "-5", None),
    (["build", f"--n={X}"], "--force", "--n=--force"),
    (["build", f"--n={X}"], -5, "--n=-5"),
    (["build", "${steps.texts.outputs.last}"], "--force", None),
    (["build", "${'-' + params.x}"], "x", None),
    (["sh", "-c", 'rm -- "$1"', "sh", X], "-rf", None),
    (["sh", "-c", 'rm -- "$1"', "--", X], "-rf", "-rf"),
    (["tini", "--", "rm", X], "-rf", None),
    (["tini", "--", "rm", "--", X], "-rf", "-rf"),
    (["kubectl", "exec", "web-1", "--", "rm", X], "-rf", None),
    (["kubectl", "exec", "web-1", "--", "rm", "--", X], "-rf", "-rf"),
    (["kubectl", "delete", "pod", "--", X], "-a", "-a"),
    (["sudo", "-u", "web", "--", "timeout", "5", "--", "rm", X], "-rf", None),
    (["sudo", "rm", "--", X], "-rf", "-rf"),
]


@pytest.mark.parametrize(("command", "value", "argument"), VALUES)
@pytest.mark.parametrize("form", [exec_of, job_of])
def test_a_value_is_no_option_unless_it_cannot_be_read_as_one(form, command, value, argument):
    found = rendered(form(command), value)
    if argument is None:
        assert isinstance(found, RenderError)
        assert found.field.startswith("spec.remediate[0].")
        assert found.message.startswith(OPTION)
        assert str(value) not in found.message.removeprefix(OPTION) or value in {"-", "x"}
    else:
        at = next(place for place, element in enumerate(command) if "${" in element)
        assert found.command == [*command[:at], argument, *command[at + 1 :]]


def test_a_literal_double_dash_in_a_containers_command_holds_for_its_args():
    behind = template_of(container_of(command=["build", "--"], args=["a", X]))
    assert rendered(behind, "-x").template["spec"]["containers"][0]["args"] == ["a", "-x"]
    assert isinstance(rendered(template_of(container_of(command=["build"], args=["a", X])), "-x"), RenderError)


WRAPPERS = [
    ["env"], ["env", "A=b"], ["env", "-i", "-u", "HOME", "A=b", "C="], ["/usr/bin/env", "--unset=HOME"],
    ["timeout", "5"], ["timeout", "-s", "KILL", "-k", "2", "5m"], ["timeout", "--signal=KILL", "5"],
    ["nice"], ["nice", "-n", "5"], ["nice", "-10"], ["nohup"], ["setsid", "-w"], ["stdbuf", "-oL", "-e", "0"],
    ["xargs"], ["xargs", "-0", "-n", "1"], ["xargs", "-I{}"], ["sudo"], ["sudo", "-nu", "web", "A=b"], ["chroot", "/mnt"],
    ["ionice", "-c", "3"], ["flock", "/lock"], ["busybox"], ["gosu", "web"], ["tini", "--"], ["time", "-p"],
    ["kubectl", "exec", "web-0", "--"], ["find", "/", "-exec"],
]  # fmt: skip
INTERPRETERS = [
    *((name, option, "") for name in ("sh", "/bin/bash", "dash", "zsh", "ksh") for option in ([], ["-e"], ["-eu"], ["+x"], ["-o", "pipefail"], ["-c"], ["-ec"], ["-xec"], ["-c", "-e"], ["-lc", "--"])),
    *((name, option, "") for name in ("python", "python3", "/usr/bin/python3.11") for option in ([], ["-u"], ["-W", "error"], ["-Werror"], ["-Ic"], ["-c"], ["-m"], ["-Im"], ["-X", "dev", "-c"])),
    *(("perl", option, "") for option in ([], ["-w"], ["-e"], ["-lane"], ["-i.bak", "-pe"], ["-E"])),
    *(("ruby", option, "") for option in ([], ["-r", "json"], ["-e"], ["-rjson", "-ne"])),
    *(("php", option, "") for option in ([], ["-r"], ["-f"], ["-d", "a=b", "-r"])),
    *(("awk", option, "") for option in ([], ["-F:"], ["-F", ":"], ["-v", "a=b"], ["-f"])),
    *(("sed", option, "") for option in ([], ["-n"], ["-i.bak"], ["-e"], ["-ne"], ["-f"], ["-e", "p", "-f"])),
    *(("jq", option, "") for option in ([], ["-r"], ["--arg", "a", "b"], ["-f"], ["--indent", "2"])),
    *(("psql", option, "no operand") for option in (["-c"], ["-Atc"], ["-h", "db", "-f"], ["--command"])),
    *(("mysql", option, "no operand") for option in (["-e"], ["-Ne"], ["-h", "db", "--execute"])),
]  # fmt: skip
REACHED = st.lists(st.sampled_from(WRAPPERS), max_size=3).map(lambda each: [part for parts in each for part in parts])


def refused(command: list[str]) -> bool:
    read = reading.parse(Undo.model_validate(exec_of(command)), "spec.remediate[0]", ACTIONS)
    return bool(templates.prepare(read.spec, read.action.rendering, read.path).problems)


@given(REACHED, st.sampled_from(INTERPRETERS), st.lists(st.sampled_from(["a", "-v", "--", X]), max_size=3))
def test_no_accepted_shape_puts_data_where_an_interpreter_reads_code(reached, interpreter, rest):
    name, options, _ = interpreter
    assert refused([*reached, name, *options, X, *rest])


@given(REACHED.filter(bool))
def test_no_accepted_shape_lets_data_name_the_program_that_another_one_starts(reached):
    assert refused([*reached, X])


@given(REACHED, st.sampled_from(INTERPRETERS), st.sampled_from([[X], ["--", X], ["a", X], [f"--a={X}"]]))
def test_behind_the_authors_own_code_data_is_an_argument(reached, interpreter, rest):
    name, options, kind = interpreter
    assert refused([*reached, name, *options, "literal", *rest]) is False or kind == "no operand"


FLAGS = ["-c", "-e", "-lc", "-xec", "--eval", "--command", "--execute", "eval", "-exec"]
ELEMENTS = st.sampled_from([X, f"--a={X}", "a", "--", "-v", "sh", "env", "python3", "-m", "tool", *FLAGS])


@given(st.lists(ELEMENTS, min_size=1, max_size=7))
def test_no_accepted_shape_has_data_first_or_behind_a_code_flag(command):
    assume(not refused(command))
    for before, element in zip(["-c", *command], command, strict=False):
        assert element != X or before not in FLAGS
    assert command[0] != f"--a={X}"
