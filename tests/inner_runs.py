"""What the pytest runs that tests start have in common."""

LEFT_OUT = "-p no:randomly -p no:faker -p no:hypothesispytest -p no:schemathesis -p no:locust"
"""Plugins that are loaded only because they are installed here: the first shuffles, and to import
the others takes three times as long as to import all else."""
