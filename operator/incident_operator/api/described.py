"""Whether the models carry what is said of their fields, which definitions and docs are made of.

A process that makes none can do without: each model reads its own source for that.
"""

fields = True
"""Set before the models are imported."""
