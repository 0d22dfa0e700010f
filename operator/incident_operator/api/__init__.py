"""What is stored in etcd, as pydantic models: the single source of the CRDs.

Models describe; they do not decide. No I/O, no clock, no kopf in here. They carry what is said of their fields, which definitions and docs
are made of; a process that makes none can do without, since each model reads its own source for that.
"""

fields = True
"""Set before the models are imported."""
