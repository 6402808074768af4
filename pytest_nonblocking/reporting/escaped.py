"""Text without what a terminal obeys, what reorders it, or what is no Unicode text."""

from __future__ import annotations

import re

# The last range is how Python holds bytes of a path that are no text.
_UNSEEN = r"\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_IN_LINES = re.compile(f"[{_UNSEEN}]")
_IN_LINE = re.compile(f"[{_UNSEEN}\t\n]")


def lines(text: str) -> str:
    r"""Return ``text`` with its control characters as ``\x1b``, except tabs and newlines."""
    return _IN_LINES.sub(_escape, text)


def line(text: object) -> str:
    r"""Return ``text`` as a single line, with its control characters as ``\x1b`` or ``\n``."""
    return _IN_LINE.sub(_escape, str(text))


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
