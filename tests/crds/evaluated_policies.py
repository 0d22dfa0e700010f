"""An admission policy as the apiserver would evaluate it, without one: conditions, variables, rules, the message of a refusal."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml
from cel_expr_python import cel
from cel_expr_python.ext.ext_optional import ExtOptional
from cel_expr_python.ext.ext_strings import ExtStrings

from incident_operator import policies
from incident_operator.crdgen.schema import plain_policy

_NAMES = ("request", "object", "oldObject", "variables")

Json = dict[str, Any]


@cache
def policy(file: str) -> Json:
    """The spec of a policy that is shipped."""
    return next(yaml.safe_load_all(plain_policy(policies.text(file))))["spec"]


@dataclass(frozen=True)
class Request:
    """One request: `old` is None where something is created, `new` where it is deleted."""

    who: str
    new: Json | None = None
    old: Json | None = None
    verbs: frozenset[str] = field(default_factory=frozenset)
    """What the person may do by the custom verbs, for want of an authorizer."""

    def is_looked_at(self, spec: Json) -> bool:
        """Whether the policy is evaluated at all."""
        found = [self._evaluated(each["expression"], {}) for each in spec.get("matchConditions", ())]
        assert all(isinstance(each, bool) for each in found), f"the apiserver would refuse everything: {found}"
        return all(found)

    def refused(self, spec: Json) -> str | None:
        """The message of the first rule that refuses the request; None where it is let pass."""
        if not self.is_looked_at(spec):
            return None
        variables: Json = {}
        for each in spec.get("variables", ()):
            variables[each["name"]] = self._variable(each["expression"], variables)
        for rule in spec["validations"]:
            if self._evaluated(rule["expression"], variables) is not True:
                told = rule.get("messageExpression")
                return str(self._evaluated(told, variables)) if told else str(rule["message"])
        return None

    def _variable(self, expression: str, variables: Json) -> Any:
        if "authorizer" not in expression:
            return self._evaluated(expression, variables)
        return any(verb in self.verbs for verb in ("approve", "respond") if f"'{verb}'" in expression) or (
            "mayApprove" in expression and bool(variables.get("mayApprove"))
        )

    def _evaluated(self, expression: str, variables: Json) -> Any:
        meta = (self.new or self.old or {})["metadata"]
        request = {
            "operation": "CREATE" if self.old is None else "DELETE" if self.new is None else "UPDATE",
            "userInfo": {"username": self.who},
            "name": meta["name"],
            "namespace": "prod",
        }
        data = dict(zip(_NAMES, (request, self.new, self.old, variables), strict=True))
        return _compiled(expression).eval(data=data).plain_value()


@cache
def _compiled(expression: str) -> Any:
    environment = cel.NewEnv(variables=dict.fromkeys(_NAMES, cel.Type.DYN), extensions=[ExtOptional(), ExtStrings()])
    return environment.compile(expression)
