"""`check` tells all that is wrong with a file in one go, each problem at its line, in the words of kubectl."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from incident_operator import cli
from incident_operator.core.runbooks.reviews import UnaskedStep, steps_of
from tests.commands import sarif_shape

RUNBOOK = """\
apiVersion: incidents.dev/v1alpha1
kind: Runbook
metadata: {name: pack, namespace: prod}
spec:
  title: Pack failed
  serviceAccountName: rb
  match: ['alertname="PackFailed"']
  diagnose:
  - {name: packs, sqlQuery: {connection: read, statement: "SELECT 1"}}
"""
CONNECTION = """\
apiVersion: incidents.dev/v1alpha1
kind: Connection
metadata: {name: read}
spec: {type: nope}
"""
READ = CONNECTION.replace("type: nope", "type: postgres, postgres: {host: db, database: packs}")
SEE = "  verify: [{name: see, promql: {connection: prom, query: packs}, expect: result.value > 0}]\n"
OF_THE_POD = SEE.replace("name: see", "name: see, when: \"incident.alerts[0].labels.pod != 'web'\"")
STATUS = '  verify: [{name: see, http: {connection: api}, expect: "%s"}]\n'
GOOD = "1 file checked: no problem found"


def check(*arguments: str, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(cli.main, ["check", *arguments], input=stdin)


def checked(folder: Path, text: str, *options: str) -> Result:
    file = folder / "runbook.yaml"
    file.write_text(text)
    return check(*options, str(file))


def problems(folder: Path, text: str) -> list[str]:
    """Line, column and message of each problem."""
    result = checked(folder, text)
    told = [line for line in result.stderr.splitlines() if line.startswith(str(folder))]
    return [line.removeprefix(f"{folder}/runbook.yaml:") for line in told]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (RUNBOOK.replace("title:", "titel:"), '5:3: Runbook pack: unknown field "spec.titel"; did you mean title?'),
        (RUNBOOK.replace("{name: pack, namespace: prod}", "[]"), "3:1: Runbook ?: metadata: Invalid value: must be"),
        ("kind: Runbook", "1:1: Runbook ?: spec: Required value"),
        ("kind: Runbook", "1:1: Runbook ?: apiVersion: Required value"),
        (RUNBOOK.replace("  title: Pack failed\n", ""), "4:1: Runbook pack: spec.title: Required value"),
        (
            RUNBOOK + "---\n" + CONNECTION,
            '14:8: Connection read: spec.type: Unsupported value: supported values: "postgres"',
        ),
        (
            RUNBOOK + "  verify: [{name: look, sqlQuery: {connection: read, statment: SELECT 1}}]",
            'unknown field "spec.verify[0].sqlQuery.statment"; did you mean statement?',
        ),
        (
            RUNBOOK + "  verify: [{name: look, sqlQuerry: {}}]",
            '10:25: Runbook pack: unknown field "spec.verify[0].sqlQuerry"; did you mean sqlQuery?',
        ),
        (RUNBOOK + "  review: {tags: [a], task: []}", 'unknown field "spec.review.task"; did you mean tasks?'),
        (RUNBOOK.replace("prod}", "prod, label: {}}"), 'unknown field "metadata.label"; did you mean labels?'),
        (RUNBOOK + "spce: {}", 'unknown field "spce"; did you mean spec?'),
        (RUNBOOK + '  suspend: "true"', "spec.suspend: Invalid value: must be of type boolean, and is string"),
        (RUNBOOK + "  description: 0755", "must be of type string, and is integer; put 0755 in quotes"),
        (
            RUNBOOK + "  groupBy: [a, on]",
            "10:16: Runbook pack: spec.groupBy[1]: Invalid value: must be of type string, and is",
        ),
        (RUNBOOK + "  severity: p1", 'spec.severity: Unsupported value: supported values: "P0", "P1"'),
        (
            RUNBOOK + "  resolveTimeout: soon",
            "spec.resolveTimeout: Invalid value: this is not a duration: write numbers with units, such as 90s, 1h30m or 7d",
        ),
        (RUNBOOK + "  verify: {}", "spec.verify: Invalid value: must be of type array, and is object"),
        (RUNBOOK + "  groupBy: [~]", "spec.groupBy[0]: Invalid value: must be of type string, and is null"),
        (
            RUNBOOK + "  restore: [{name: up, scale: {target: deployment/web, replicas: 2.5}}]",
            "spec.restore[0].scale.replicas: Invalid value: must be of type integer, and is number",
        ),
        (RUNBOOK.replace("v1alpha1", "v1"), 'apiVersion: no matches for kind "Runbook" in version "incidents.dev/v1"'),
        (RUNBOOK.replace("incidents.dev", "incident.dev"), "write incidents.dev/v1alpha1"),
        (
            RUNBOOK.replace("kind: Runbook", "kind: Runbok"),
            '"Runbok" in version "incidents.dev/v1alpha1"; did you mean Runbook?',
        ),
        (READ.replace("postgres: {", "http: {url: 'http://x'}, postgres: {"), "exactly spec.postgres has to be set"),
        (READ.replace("host", "hots"), 'unknown field "spec.postgres.hots"; did you mean host?'),
        (RUNBOOK + f"  verify: [{'[' * 70}{']' * 70}]", "is nested deeper than 64 levels"),
        (RUNBOOK + f"  verify: [{'[' * 900}{']' * 900}]", "is nested"),
        *(
            (RUNBOOK.replace("name: pack,", f'name: "{name}",'), "is not a name of an object")
            for name in ("a, step: x, digest: y} #", "a\\n- {namespace: prod", "\\u202ea")
        ),
        (RUNBOOK.replace("namespace: prod", "namespace: a.b"), '"a.b" is not a name of a namespace'),
        (RUNBOOK + '  "ti\\e[2J\\ntle": x', 'unknown field "spec.ti\\u001b[2J\\ntle"'),
        (RUNBOOK + "  title: again", '10:3: Runbook pack: key "title" is already set in line 5'),
        ("a: [", ":1:5: not YAML"),
        ("a: !!int b", 'not YAML that kubectl reads: "b" is not a int'),
        ("~: 1", "not YAML that kubectl reads: a key has to be a text"),
        ("a: &a [*a]", "an anchor may not contain itself"),
        ("[" * 5000, "nested too deep"),
        ("- 1", "not a Kubernetes object"),
        (RUNBOOK.replace("kind: Runbook", "kind: [Runbook]"), "no matches for kind \"['Runbook']\""),
        (RUNBOOK + "  description: 1180591620717411303424", "spec.description: Invalid value: must be of type string"),
    ],
)
def test_each_problem_is_told_with_its_place_and_the_exit_code_is_1(tmp_path: Path, text: str, told: str) -> None:
    result = checked(tmp_path, text)
    assert (result.exit_code, result.stdout) == (1, "")
    assert told in result.stderr
    assert all(line.startswith((f"{tmp_path}/runbook.yaml:", " ")) for line in result.stderr.splitlines())


def test_all_layers_of_problems_are_told_in_one_go(tmp_path: Path) -> None:
    text = RUNBOOK.replace("title:", "titel:") + (
        "  - {name: other, promql: {connection: prom, query: up}, when: 1 +}\n"
        "  mitigate:\n"
        "  - {name: up, scal: {target: deployment/web, replicas: 5}}\n"
        "  - {name: more, timeuot: 5s, when: steps.pcks.outputs.n > 1, scale: {target: deployment/web, replicas: 5}}\n"
        "  - {name: third, when: steps.up.outputs.x, scale: {target: deployment/api, replicas: 5}, retry: 3}\n"
        "---\n" + CONNECTION + "---\na: [\n"
    )
    told = [line.split(": ", 1)[1] for line in problems(tmp_path, text)]
    assert [line[:75] for line in told] == [
        "Runbook pack: spec.title: Required value",
        'Runbook pack: unknown field "spec.titel"; did you mean title?',
        "Runbook pack: spec.diagnose[0].sqlQuery.connection: Connection read is of t",
        "Runbook pack: spec.diagnose[1].promql.connection: there is no Connection pr",
        "Runbook pack: spec.diagnose[1].when: the expression ends too early",
        'Runbook pack: unknown field "spec.mitigate[0].scal"; did you mean scale?',
        'Runbook pack: unknown field "spec.mitigate[1].timeuot"; did you mean timeou',
        "Runbook pack: spec.mitigate[1].when: steps has no pcks; did you mean packs?",
        "Runbook pack: spec.mitigate[2].retry: Invalid value: must be of type object",
        'Connection read: spec.type: Unsupported value: supported values: "postgres"',
        "not YAML: while parsing a flow node, expected the node content, but found '",
    ]


def test_a_problem_that_only_follows_from_another_is_not_told(tmp_path: Path) -> None:
    steps = [
        "{name: a, sqlQury: {connection: read, statement: SELECT 1}, outputs: {x: result.rows.size()}}",
        "{name: b, sqlQuery: {connection: read, statement: SELECT 1}, output: {x: result.rows.size()}}",
    ]
    use = "  verify: [{name: c, promql: {connection: p, query: up}, expect: steps.a.outputs.x == steps.b.outputs.x}]"
    found = problems(tmp_path, RUNBOOK + "".join(f"  - {step}\n" for step in steps) + use)
    assert [line.split('"')[1] for line in found] == ["spec.diagnose[1].sqlQury", "spec.diagnose[2].output"]


@pytest.mark.parametrize(
    ("written", "read"),
    [("n", "false"), ("y", "true"), ("yes", "true"), ("no", "false"), ("on", "true"), ("off", "false")],
)
def test_a_key_that_the_cluster_reads_as_a_boolean_is_told(tmp_path: Path, written: str, read: str) -> None:
    step = f'  - {{name: more, sqlQuery: {{connection: read, statement: SELECT 1}}, outputs: {{{written}: "1"}}}}\n'
    (told,) = problems(tmp_path, RUNBOOK + step)
    assert f'the key "{written}" is read as the boolean {read}, so it becomes "{read}"; put it in quotes' in told
    assert problems(tmp_path, RUNBOOK + step.replace(f"{{{written}:", f'{{"{written}":')) == []


def test_a_date_is_the_text_that_kubectl_makes_of_it(tmp_path: Path) -> None:
    assert problems(tmp_path, RUNBOOK + "  parameters: [{name: day, type: date, default: 2025-10-21}]\n") == []


def test_where_an_expression_or_yaml_is_wrong_is_shown(tmp_path: Path) -> None:
    told = checked(tmp_path, RUNBOOK.replace('"SELECT 1"}', '"SELECT 1"}, when: "1 +  + 2"')).stderr.splitlines()
    assert (told[1].strip(), told[2].strip()) == ("1 +  + 2", "^")
    told = checked(tmp_path, "spec: {a: b}}\n").stderr.splitlines()
    assert told[1:] == ["  spec: {a: b}}", "              ^"]


def test_a_good_runbook_is_said_to_be_one(tmp_path: Path) -> None:
    result = checked(tmp_path, RUNBOOK)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{GOOD}\n", "")


def test_what_is_piped_in_is_checked_like_a_file() -> None:
    assert check("-", stdin=RUNBOOK).stdout == f"{GOOD}\n"
    told = check("-", stdin=RUNBOOK.replace("title:", "titel:")).stderr
    assert '<stdin>:5:3: Runbook pack: unknown field "spec.titel"' in told
    assert "<stdin>:1:1: not UTF-8" in check("-", stdin=b"\xff\xfe\x00").stderr


def test_a_folder_is_searched_for_manifests_of_ours(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "deep" / "a.yaml").write_text(RUNBOOK.replace("title:", "titel:"))
    (tmp_path / "b.yml").write_text(READ.replace("host", "hots"))
    (tmp_path / "c.json").write_text(json.dumps(yaml.safe_load(RUNBOOK), indent="\t").replace("title", "tittle"))
    (tmp_path / "chart.yaml").write_text("{{ if .Values.x }}")
    (tmp_path / "notes.txt").write_text(RUNBOOK.replace("title:", "titel:"))
    (tmp_path / ".git" / "d.yaml").write_text(RUNBOOK.replace("title:", "titel:"))
    result = check(str(tmp_path), "-o", "json")
    found = [each for each in json.loads(result.stdout)["findings"] if "unknown" in each["message"]]
    told = [(each["file"].removeprefix(f"{tmp_path}/"), each["field"], each["line"]) for each in found]
    assert told == [("b.yml", "spec.postgres.hots", 4), ("c.json", "spec.tittle", 9), ("deep/a.yaml", "spec.titel", 5)]


def test_a_pipe_in_a_folder_is_not_waited_for_and_a_link_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for name in ("folder.yaml", "a.yaml"):
        (tmp_path / name).symlink_to(tmp_path if name == "folder.yaml" else tmp_path / "gone.yaml")
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    (tmp_path / "b.yaml").write_text(RUNBOOK)
    told = check(str(tmp_path)).stderr.splitlines()
    assert told == [
        f"{tmp_path}/a.yaml:1:1: cannot be read: No such file or directory",
        f"{tmp_path}/loop.yaml:1:1: cannot be read: Too many levels of symbolic links",
    ]


@pytest.mark.parametrize(
    ("name", "text", "uri"),
    [
        (b"\xff.yaml", '"\\udcff.yaml"', "%FF.yaml"),
        (b"a\nb\x1b[31m.yaml", '"a\\nb\\u001b[31m.yaml"', "a%0Ab%1B%5B31m.yaml"),
        ("ü #.yaml".encode(), "ü #.yaml", "%C3%BC%20%23.yaml"),
    ],
)
def test_a_file_of_any_name_is_told(tmp_path: Path, name: bytes, text: str, uri: str) -> None:
    with contextlib.chdir(tmp_path):
        Path(os.fsdecode(name)).write_text(RUNBOOK.replace("title:", "titel:"))
        (result,) = json.loads(check("-o", "sarif", os.fsdecode(name)).stdout)["runs"][0]["results"][:1]
        told = check(os.fsdecode(name)).stderr
        assert check("-o", "github", os.fsdecode(name)).exit_code == 1
    assert result["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": uri}
    assert len(told.splitlines()) == 2
    assert told.startswith(f"{text}:")


def test_each_item_of_a_list_is_checked_at_its_place(tmp_path: Path) -> None:
    items = [yaml.safe_load(RUNBOOK), yaml.safe_load(RUNBOOK.replace("title:", "titel:"))]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=2)
    line = text.splitlines().index('        "titel": "Pack failed",') + 1
    assert f'{line}:9: Runbook pack: unknown field "spec.titel"; did you mean title?' in problems(tmp_path, text)


@pytest.mark.parametrize(
    ("connection", "told"),
    [
        ("", ""),
        (READ, ""),
        (READ.replace("name: read", "name: reads"), "there is no Connection read in this namespace"),
        (READ.replace("name: read", "name: read, namespace: prod"), ""),
        (READ.replace("name: read", "name: reads, namespace: elsewhere"), ""),
        (READ.replace("postgres: {", "http: {"), "Connection read: spec"),
        (
            CONNECTION.replace("type: nope", "type: http, http: {url: 'http://x'}"),
            "is of type http; sqlQuery needs postgres",
        ),
    ],
)
def test_connections_that_are_given_beside_are_looked_at(tmp_path: Path, connection: str, told: str) -> None:
    runbook, beside = tmp_path / "runbook.yaml", tmp_path / "connection.yaml"
    runbook.write_text(RUNBOOK)
    beside.write_text(connection)
    result = check(str(runbook), str(beside))
    assert told in result.stderr
    assert (result.exit_code, bool(result.stderr)) == (int(bool(told)), bool(told))


def test_a_connection_alone_can_be_checked(tmp_path: Path) -> None:
    assert checked(tmp_path, READ).stdout == f"{GOOD}\n"


def acting(match: str = 'alertname="PackFailed"', more: str = "", **stages: str) -> str:
    """A Runbook that scales in remediate and verifies; `more` stands in its spec."""
    step = "  remediate: [{name: up, scale: {target: deployment/web, replicas: 5}}]\n"
    written = {"remediate": step, "verify": SEE, **stages}
    return RUNBOOK.replace('alertname="PackFailed"', match) + more + "".join(written.values())


POST = "{name: post, http: {connection: api, method: POST}}"
ALERTS = "  verify: [{name: see, promql: {connection: p, query: 'ALERTS%s'}, expect: result.value == 0.0}]\n"
JOB = "  remediate: [{name: up, job: {from: deployment/web, command: [restart, '${params.%s}']}}]\n"
PODS = "  parameters: [{name: pod, type: k8sName, from: alert.labels.pod}]\n"
WHOSE = "  parameters: [{name: namespace, type: k8sName, from: alert.labels.namespace}]\n"


@pytest.mark.parametrize(
    ("name", "warned", "not_warned"),
    [
        ("foreign-target", acting('namespace=~"shop-.*"'), acting()),
        ("foreign-target", acting('namespace!="kube-system"'), acting('namespace="shop"')),
        (
            "foreign-target",
            acting('namespace=~"a|b"', PODS + "  groupBy: [pod]\n", remediate=JOB % "pod"),
            acting('namespace=~"a|b"', WHOSE, remediate=JOB % "namespace"),
        ),
        ("unverified-remediation", acting(verify=""), acting()),
        (
            "unprobed-act",
            acting(remediate=f"  remediate: [{POST}]\n"),
            acting(
                remediate=f"  remediate: [{POST[:-1]}, probe: {{http: {{connection: api}}, expect: result.status == 200}}}}]\n"
            ),
        ),
        ("verify-asks-the-alert", acting(verify=ALERTS % ""), acting()),
        (
            "verify-asks-the-alert",
            acting(verify=ALERTS % '{alertname="PackFailed"}'),
            acting(verify=ALERTS % '{alertname="Other"}'),
        ),
        ("verify-asks-the-alert", acting(verify=SEE.replace("result.value > 0", "incident.resolved")), acting()),
        (
            "verify-asks-the-alert",
            acting(verify=SEE.replace("query: packs", """query: '{"ALERTS", alertstate="firing"}'""")),
            acting(verify=SEE.replace("query: packs", """query: 'up{path="/api/v1/alerts", a="x ALERTS"}'""")),
        ),
        (
            "verify-asks-the-alert",
            acting(verify=SEE.replace("query: packs", """query: 'count({__name__=~"ALERTS.*"})'""")),
            acting(verify=SEE.replace("query: packs", "query: my_ALERTS_total")),
        ),
        (
            "verify-asks-the-alert",
            acting(verify=STATUS % "incident.alerts.all(a, a.status == 'resolved')"),
            acting(verify=OF_THE_POD),
        ),
        (
            "verify-asks-the-alert",
            acting(verify=STATUS % "incident.alerts[0]['status'] == 'resolved'"),
            acting(verify=STATUS % "result.status == 200 && incident.alerts[0].labels.pod == result.body"),
        ),
        (
            "verify-asks-the-alert",
            acting(
                verify="  verify: [{name: see, http: {connection: a, path: /api/v2/alerts}, expect: result.status == 200}]\n"
            ),
            acting(),
        ),
        (
            "ungrouped",
            acting('alertname="KubePodCrashLooping"'),
            acting('alertname="KubePodCrashLooping"', "  groupBy: [pod]\n"),
        ),
        ("ungrouped", acting(more=PODS), acting(more=PODS + "  groupBy: [namespace, pod]\n")),
        ("ungrouped", acting('pod=~"api-.*"'), acting('pod="api-0"')),
        ("late-objective", acting(more="  objectives: {resolve: 1m}\n"), acting(more="  objectives: {resolve: 2m}\n")),
        (
            "late-objective",
            acting(more="  objectives: {resolve: 5m}\n", verify=SEE.replace("}]", ", until: {every: 5s, for: 10m}}]")),
            acting(more="  objectives: {mitigate: 30s}\n"),
        ),
        ("same-name", RUNBOOK + "---\n" + RUNBOOK, RUNBOOK + "---\n" + RUNBOOK.replace("prod", "shop")),
        ("yaml-word", acting(more="  suspend: no\n"), acting(more="  suspend: false\n")),
        ("empty-field", acting(more="  groupBy:\n"), acting(more="  groupBy: []\n")),
        (
            "next-release",
            acting(remediate="  remediate: [{name: up, scale: {target: deployment/web, replicas: 5}, timeout: 2h}]\n"),
            acting(),
        ),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(tmp_path: Path, name: str, warned: str, not_warned: str) -> None:
    for text, expected in ((warned, [name]), (not_warned, [])):
        result = checked(tmp_path, text, "-o", "json")
        told = [each["rule"] for each in json.loads(result.stdout)["findings"]]
        assert (told, result.exit_code) == (expected, 0), text
        assert checked(tmp_path, text, "--strict").exit_code == len(expected)


def test_a_runbook_of_a_namespace_that_is_said_to_be_global_is_warned_of(tmp_path: Path) -> None:
    for options, warned in (([], 0), (["--global-namespace", "other"], 0), (["--global-namespace", "prod"], 1)):
        assert checked(tmp_path, acting(), "--strict", *options).exit_code == warned


def test_warnings_are_told_on_stderr_and_the_exit_code_is_0(tmp_path: Path) -> None:
    result = checked(tmp_path, acting(verify=""))
    assert (result.exit_code, result.stdout) == (0, f"{GOOD}, 1 warning\n")
    assert result.stderr.startswith(
        f"{tmp_path}/runbook.yaml:10:3: warning: Runbook pack: spec.remediate: nothing checks"
    )


def test_wrong_usage_exits_2(tmp_path: Path) -> None:
    for arguments in ([], ["no-such-file"], ["-o", "xml", "-"], ["--nope", "-"]):
        assert check(*arguments).exit_code == 2, arguments


def test_what_holds_nothing_of_ours_is_not_praised(tmp_path: Path) -> None:
    result = checked(tmp_path, "apiVersion: v1\nkind: ConfigMap\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: found no Runbook: looked for documents of kind Runbook\n"


def test_the_output_for_github_is_a_workflow_command_for_each_finding(tmp_path: Path) -> None:
    file = tmp_path / "a,b:c%.yaml"
    file.write_text(RUNBOOK.replace('"SELECT 1"}', '"SELECT 1"}, when: "1 %  % 2"'))
    (line,) = check("-o", "github", str(file)).stdout.splitlines()
    assert line.startswith(
        f"::error file={tmp_path}/a%2Cb%3Ac%25.yaml,line=9,col=72,title=Runbook pack::Runbook pack: spec."
    )
    assert "%0A1 %25  %25 2%0A" in line


def test_the_output_in_sarif_has_the_shape_of_version_2_1_0(tmp_path: Path) -> None:
    result = checked(tmp_path, acting(verify="") + "---\n" + CONNECTION, "-o", "sarif")
    log = json.loads(result.stdout)
    sarif_shape.holds(log)
    (run,) = log["runs"]
    assert [(each["ruleId"], each["level"]) for each in run["results"]][-1] == ("schema", "error")
    region = run["results"][-1]["locations"][0]["physicalLocation"]["region"]
    assert region == {"startLine": 15, "startColumn": 8}
    sarif_shape.holds(json.loads(checked(tmp_path, RUNBOOK, "-o", "sarif").stdout))


def test_the_output_in_json_holds_what_text_tells(tmp_path: Path) -> None:
    result = checked(tmp_path, RUNBOOK.replace("title:", "titel:"), "-o", "json")
    assert (result.exit_code, result.stderr) == (1, "")
    assert json.loads(result.stdout)["findings"][1] == {
        "file": f"{tmp_path}/runbook.yaml",
        "line": 5,
        "column": 3,
        "level": "error",
        "rule": "schema",
        "message": 'unknown field "spec.titel"; did you mean title?',
        "subject": "Runbook pack",
        "field": "spec.titel",
        "excerpt": "",
    }


def test_the_digest_of_each_step_that_an_administrator_may_let_run_unasked_is_printed(tmp_path: Path) -> None:
    block = {"name": "block", "protective": True, "http": {"connection": "api", "method": "POST", "path": "/block"}}
    runbook = yaml.safe_load(RUNBOOK)
    runbook["spec"]["mitigate"] = [block]
    lines = checked(tmp_path, yaml.safe_dump(runbook)).stdout.splitlines()
    assert lines[0] == f"{GOOD}, 1 warning"
    (named,) = yaml.safe_load(lines[-1])
    assert steps_of(json.dumps([named])) == {UnaskedStep("prod", "pack", "block", named["digest"])}


def test_digests_of_what_says_no_name_are_printed(tmp_path: Path) -> None:
    block = "{name: block, protective: true, http: {connection: api, method: POST}}"
    text = RUNBOOK.replace("metadata: {name: pack, namespace: prod}\n", "") + f"  mitigate: [{block}]\n"
    assert "{namespace: default, runbook: ?, step: block" in checked(tmp_path, text).stdout


HEAVY = ("kubernetes", "kopf", "aiohttp", "psycopg", "structlog", "requests", "pydantic", "yaml")


@pytest.mark.parametrize(
    ("arguments", "light"),
    [
        (["--version"], (*HEAVY, "incident_operator.settings")),
        (["--help"], (*HEAVY, "incident_operator.settings")),
        (["run", "--help"], HEAVY[:-2]),
        (["check", "-"], (*HEAVY[:-2], "ssl")),
    ],
)
def test_a_command_that_only_reads_imports_nothing_that_speaks_to_the_world(
    arguments: list[str], light: tuple[str, ...]
) -> None:
    told = f"import sys; sys.argv[1:] = {arguments}\nfrom incident_operator.__main__ import main\ntry: main()\n"
    told += (
        "except SystemExit as ended: print(ended.code, sorted(set(sys.modules) & set(sys.orig_argv[-1].split(','))))"
    )
    everything = "  restore:\n" + "".join(f"  - {each}\n" for each in EVERY_ACTION)
    ran = subprocess.run(
        [sys.executable, "-c", told, ",".join(light)],
        input=RUNBOOK + everything, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.stdout.splitlines()[-1] == "0 []", ran.stderr


EVERY_ACTION = (
    "{name: a, logs: {from: deployment/web, pattern: 'a(?P<b>.)'}}",
    "{name: b, get: {apiVersion: v1, kind: Pod, name: web}}",
    "{name: c, promql: {connection: p, query: up}}",
    "{name: d, http: {connection: h, method: POST, headers: {a: b}}}",
    "{name: e, sqlQuery: {connection: d, statement: SELECT 1}}",
    "{name: f, sqlExecute: {connection: d, statement: UPDATE t SET a = 1, maxRows: 1}}",
    "{name: g, scale: {target: deployment/web, replicas: 2}}",
    "{name: h, job: {from: deployment/web, command: [a]}}",
    "{name: i, exec: {target: pod/web, command: [a]}}",
)


def test_a_client_that_is_used_all_the_same_is_imported_then() -> None:
    told = """if True:
        from incident_operator import offline
        offline.defer_clients()
        from incident_operator.actions import http, sql
        from incident_operator.actions.sql import claim
        assert "aiohttp" not in __import__("sys").modules
        class Own(http.Reply):
            pass
        from incident_operator.clients.http import Reply
        assert Own.__bases__ == (Reply,)
        request = http.Request("GET", "http://x", {}, None)
        from incident_operator.clients.http import Request
        assert type(request) is Request and isinstance(request, http.Request)
        from incident_operator.clients.sql_errors import SqlError
        assert type(claim.SqlError(claim.Fault.LOCKED, "x")) is SqlError
    """
    ran = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
