"""The generator of crds/ and of the chart's copies: `python -m incident_operator.crdgen`."""
