"""Text in the columns of a terminal, where some characters take two of them and some none."""

from __future__ import annotations

import re
import unicodedata

_CUT = "…"


def width(text: str) -> int:
    """Return how many columns ``text`` takes."""
    return sum(_width(character) for character in text)


def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("F", "W") else 1


def fitted(text: str, columns: int) -> str:
    """Return ``text`` padded to ``columns``, or its end where it is too long.

    The end of a test id or a path distinguishes it from its neighbours; the beginning rarely does.
    """
    if width(text) > columns:
        kept = len(text)
        room = columns - 1
        while kept and _width(text[kept - 1]) <= room:
            kept -= 1
            room -= _width(text[kept])
        text = _CUT + text[kept:]
    return text + " " * (columns - width(text))


def wrapped(line: str, columns: int | None, indent: int) -> list[str]:
    """Return ``line`` as lines of at most ``columns``, broken at spaces, the further ones indented.

    None leaves it as it is. A word longer than a line is not broken: a path would not be found.
    """
    if columns is None or width(line) <= columns or columns <= 2 * indent:
        return [line]
    lines, current = [], ""
    for word in re.findall(r" *[^ ]+", line):
        if current and width(current + word) > columns:
            lines.append(current)
            current = " " * indent + word.lstrip(" ")
        else:
            current += word
    return [*lines, current]
