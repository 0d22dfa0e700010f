"""The chart's memory limit holds the operator and all that its helpers may take."""

from pathlib import Path

import yaml

from incident_operator.clients.evaluations import Budget
from incident_operator.clients.queries import Limits

VALUES = Path(__file__).parents[2] / "charts/incident-operator/values.yaml"
MIB = 1024 * 1024
AT_START = {"expressions": 30 * MIB, "queries": 60 * MIB}
OPERATOR = 350 * MIB
"""What the operator itself may take."""


def test_the_charts_memory_limit_holds_the_operator_and_its_helpers():
    limit = yaml.safe_load(VALUES.read_text())["resources"]["limits"]["memory"]
    assert limit == "1Gi"
    expressions = AT_START["expressions"] + Budget().memory
    queries = AT_START["queries"] + Limits().memory
    alone = queries  # for a query that has ended the shared one
    assert OPERATOR + expressions + queries + alone < 1024 * MIB
