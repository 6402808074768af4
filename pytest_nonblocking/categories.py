"""The categories of the plugin's warnings, for filters in an ini file and on the command line."""

from __future__ import annotations

import pytest


class PytestNonblockingWarning(pytest.PytestWarning):
    """A measurement produced no verdict; the message says why and what to do.

    The base of the other categories: a filter that names it holds for both.
    """


class InconclusiveWarning(PytestNonblockingWarning):
    """Noise or too close a figure hides the verdict; an error only where a filter names it."""


class NotMeasuredWarning(PytestNonblockingWarning):
    """The test could not be measured; an error wherever warnings are errors."""
