"""Readings from the operating system: threads, processes and the machine."""
