"""pytester for all tests of the plugin."""

pytest_plugins = ["pytester"]
