"""Probes: the hooks for each kind of event loop."""
