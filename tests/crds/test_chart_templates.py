"""The chart's templates as they are written; what helm makes of them is in test_chart.py."""

import re
from pathlib import Path

import pytest

from incident_operator import settings

CHART = Path(__file__).resolve().parents[2] / "charts" / "incident-operator"
DIFFERENT_EACH_TIME = re.compile(
    r"\b(lookup|rand\w+|uuidv4|gen(CA|PrivateKey|SelfSignedCert|SignedCert)\w*|htpasswd|bcrypt|encryptAES|now|date\w*)\b"
)
"""Functions of helm whose answer depends on chance, on the time, or on a cluster that `helm template` does not see."""


@pytest.mark.parametrize(
    "path", sorted(CHART.rglob("templates/**/*.*")), ids=lambda path: str(path.relative_to(CHART / "templates"))
)
def test_no_template_uses_what_differs_from_render_to_render(path: Path) -> None:
    actions = re.findall(r"\{\{(.*?)\}\}", path.read_text(), flags=re.DOTALL)
    told = [action.strip() for action in actions if not action.strip("- ").startswith("/*")]
    bare = [re.sub(r'"[^"]*"', '""', action) for action in told]
    assert [action for action in bare if DIFFERENT_EACH_TIME.search(action)] == []


def test_the_deployment_sets_no_variable_that_the_operator_does_not_read_and_says_so_in_the_settings() -> None:
    template = (CHART / "templates" / "deployment.yaml").read_text()
    given = set(re.findall(r"- name: (INCIDENT_OPERATOR_\w+)", template))
    from_values = {option.variable for option in settings.OPTIONS if option.chart != "-"}
    assert from_values <= given <= {option.variable for option in settings.OPTIONS}
