"""Expressions and templates: CEL behind one module, evaluated from facts to a value or to "unknown"."""
