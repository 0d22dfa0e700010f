"""What is stored in etcd, as pydantic models: the single source of the CRDs.

Models describe; they do not decide. No I/O, no clock, no kopf in here.
"""
