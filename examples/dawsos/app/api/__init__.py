"""The API: valuations behind the freshness gate, and the metrics that tell whether the gate is open."""
