"""Finds the operations of an app and collects a test of each. Nothing here measures."""
