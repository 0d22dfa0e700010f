"""Speaks to the outside: apiserver, databases, HTTP services. Knows protocols, decides nothing."""
