"""`python -m incident_operator.crdgen [--check]`: writes crds/, schemas for editors and the chart's copies from models, catalogues and policies.

The files are committed and never edited by hand; `--check` writes nothing and fails where one is stale.

JSON schemas for editors, of the kinds that people write: from the definitions, which editors cannot read themselves.

`# yaml-language-server: $schema=…` on the first line of a manifest names one. Unknown fields are wrong in them, as they are to the apiserver.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from incident_operator import policies
from incident_operator.actions import ACTIONS
from incident_operator.api.meta import API_VERSION, GROUP
from incident_operator.core.outcomes import Json
from incident_operator.crdgen import kinds
from incident_operator.crdgen.kinds import Kind
from incident_operator.crdgen.schema import definition_template, plain_policy, policy_template

DRAFT = "http://json-schema.org/draft-07/schema#"
"""What yaml-language-server and other editors read without being told."""
_FREE = "x-kubernetes-preserve-unknown-fields"
_EITHER = "x-kubernetes-int-or-string"
_RULES = "x-kubernetes-validations"
_CLUSTER = "x-kubernetes-"


def schema(kind: Kind, definition: Json, actions: Iterable[str]) -> str:
    """Return the JSON schema of a kind as text; `actions` are the keys of which a step, undo or probe carries exactly one."""
    stored = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    fields = stored["properties"]
    described = {name: {"description": fields[name]["description"]} for name in ("apiVersion", "kind")}
    properties = {
        "apiVersion": {"const": API_VERSION, **described["apiVersion"]},
        "kind": {"const": kind.name, **described["kind"]},
        "metadata": {"type": "object", "description": "Name, namespace, labels and annotations, as of any object."},
        "spec": _rewritten(fields["spec"], tuple(actions)),
        "status": {"type": "object", "description": "The operator's; not for people to write."},
    }
    whole = {
        "$schema": DRAFT,
        "title": kind.name,
        "description": stored["description"],
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": properties,
        "additionalProperties": False,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _rewritten(node: Json, actions: tuple[str, ...]) -> Json:
    kept: Json = {key: value for key, value in node.items() if not key.startswith(_CLUSTER)}
    if node.get(_EITHER):
        kept["type"] = ["integer", "string"]
    if "properties" in node:
        kept["properties"] = {name: _rewritten(each, actions) for name, each in node["properties"].items()}
        if not node.get(_FREE) and "additionalProperties" not in node:
            kept["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            kept[key] = _rewritten(node[key], actions)
    return {**_bounds(kept), **_one_action(node, actions)}


def _bounds(node: Json) -> Json:
    """Rewrite exclusive bounds back: a flag in Kubernetes, a number in JSON Schema."""
    rewritten = dict(node)
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if rewritten.get(exclusive) is True:
            rewritten[exclusive] = rewritten.pop(bound)
    return rewritten


def _one_action(node: Json, actions: tuple[str, ...]) -> dict[str, Any]:
    """Return the rule that exactly one action is written, where the definition has it."""
    if not any(each["message"] == "exactly one action" for each in node.get(_RULES, [])):
        return {}
    return {"oneOf": [{"required": [key]} for key in actions if key in node["properties"]]}


CHECKOUT = Path(__file__).resolve().parents[3]
TEMPLATES = "charts/incident-operator/templates"
SCHEMAS = "docs/schemas"
"""Not crds/, all of which is applied."""


def files() -> dict[str, str]:
    """Return every generated file: path below the checkout → text."""
    return {**_definitions(), **_schemas(), **_policies()}


def _definitions() -> dict[str, str]:
    generated: dict[str, str] = {}
    for kind in kinds.ALL:
        name = f"{GROUP}_{kind.plural}.yaml"
        text = _header("api/") + yaml_text(kinds.definition(kind))
        generated[f"crds/{name}"] = text
        generated[f"{TEMPLATES}/crds/{name}"] = definition_template(text)
    return generated


def _schemas() -> dict[str, str]:
    keys = [action.key for action in ACTIONS]
    return {
        f"{SCHEMAS}/{kind.name.lower()}.json": schema(kind, kinds.definition(kind), keys)
        for kind in (kinds.RUNBOOK, kinds.CONNECTION)
    }


def _policies() -> dict[str, str]:
    validating = "---\n".join(policies.text(file) for file in policies.VALIDATING)
    generated = {
        "crds/approval-policies.yaml": _header("policies/") + plain_policy(validating),
    }
    for file in (*policies.LIMITING, policies.STAMPING):
        generated[f"crds/{file}"] = _header("policies/") + plain_policy(policies.text(file))
    for file in (*policies.VALIDATING, *policies.LIMITING, policies.STAMPING):
        generated[f"{TEMPLATES}/policies/{file}"] = _header(f"policies/{file}") + policy_template(file)
    return generated


def _header(source: str) -> str:
    return f"# Generated by `make generate` from operator/incident_operator/{source}. Do not edit.\n"


def yaml_text(document: object) -> str:
    """Return a document as YAML, keys in their own order."""
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


def stale(checkout: Path, generated: Mapping[str, str]) -> list[str]:
    """Return the paths whose file is missing or differs from what would be written."""
    return [path for path, text in generated.items() if _read(checkout / path) != text]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 where a file is stale.")
@click.option("--checkout", type=click.Path(path_type=Path), default=CHECKOUT, help="Root of the repository.")
def main(*, check: bool, checkout: Path) -> None:
    """Write the CRDs, the schemas for editors, the approval policies and the chart's copies."""
    generated = files()
    changed = stale(checkout, generated)
    for path in changed:
        click.echo(f"{'stale' if check else 'wrote'}: {path}")
        if not check:
            _write(checkout / path, generated[path])
    if check and changed:
        sys.exit("run `make generate` and commit what it writes")
    click.echo(f"{len(generated) - len(changed)} of {len(generated)} files were up to date")


if __name__ == "__main__":
    main()
