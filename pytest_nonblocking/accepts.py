"""What each setting accepts: a raw value becomes a checked one, or a ValueError says why not.

Loaded by every pytest run that has the plugin.
"""

from __future__ import annotations

import importlib.util
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

LARGEST = 1_000_000
"""The largest share, and the longest duration in seconds (11 days): no clock or wait overflows."""
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_APP = r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(\(\))?"
DOTTED = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+"
"""The name of a function, with that of its module."""
CALLS_THAT_FAIL = "network, database, sleep, process, lock, dns"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
METHODS = (*SAFE_METHODS, "POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY")
"""The methods of HTTP that a scan may use."""
_GUARD_CALL = (
    "the dotted name of a C function, with an optional category, such as "
    "'mylib._native.Client.fetch: network'"
)


def duration(raw: Any) -> float:
    """Return seconds from ``20ms``, ``1.5s``, ``800us`` or a number of seconds.

    Raises ValueError for anything else, and for what is negative or longer than ``LARGEST``.
    """
    try:
        if isinstance(raw, str):
            text = raw.strip()
            unit = next((unit for unit in _UNITS if text.endswith(unit)), "")
            seconds = float(text.removesuffix(unit)) * _UNITS.get(unit, 1.0)
        elif isinstance(raw, (int, float)) and not isinstance(raw, bool):
            seconds = float(raw)
        else:
            raise ValueError
        if not 0 <= seconds <= LARGEST:  # NaN is not
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError(
            "a duration such as 20ms, 1.5s or 800us, or a number of seconds, "
            f"of at most {LARGEST} s"
        ) from None
    return seconds


def positive_duration(raw: Any) -> float:
    """Return seconds as ``duration`` does, above zero; raises ValueError."""
    seconds = duration(raw)
    if seconds == 0:
        raise ValueError("a duration longer than zero, such as 20ms")
    return seconds


def whole_number(least: int, most: float = math.inf) -> Callable[[Any], int]:
    """Return a function that accepts integers in a range, and raises ValueError for others."""

    def parse(raw: Any) -> int:
        try:
            if isinstance(raw, bool):
                raise ValueError
            number = int(raw) if isinstance(raw, str) else operator.index(raw)
            if not least <= number <= most:
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            limit = "" if most == math.inf else f" and at most {most}"
            raise ValueError(f"an integer of at least {least}{limit}") from None
        return number

    return parse


def fraction(raw: Any) -> float:
    """Return a share above zero; raises ValueError."""
    try:
        if isinstance(raw, bool):
            raise ValueError
        number = float(raw)
        if not 0 < number <= LARGEST:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"a number above 0 and at most {LARGEST}, such as 0.1") from None
    return number


def _reasons(raw: Any, names: Sequence[str], kind: str) -> dict[str, str | None]:
    """Return the given ones of ``names``, each with its reason or None.

    Written as a mapping to reasons, as names, or as lines of the form ``name: reason``.
    """
    pairs: list[tuple[Any, Any]] = []
    if isinstance(raw, Mapping):
        pairs += raw.items()
    elif isinstance(raw, (str, list, tuple, set, frozenset)):
        for line in raw.splitlines() if isinstance(raw, str) else raw:
            if not isinstance(line, str):
                pairs.append((line, None))
                continue
            name, colon, reason = line.partition(":")
            given = [name.strip()] if colon else re.split(r"[\s,]+", name.strip())
            pairs += [(one, reason.strip() or None) for one in given if one]
    kinds = (str,) if isinstance(raw, Mapping) else (str, type(None))
    if not pairs or any(
        name not in names or not isinstance(reason, kinds) for name, reason in pairs
    ):
        raise ValueError(
            f"one or more of {', '.join(names)}, each with an optional reason "
            f"({{{kind}: reason}} or '{kind}: reason')"
        )
    return dict(pairs)


def allowances(raw: Any) -> dict[str, str | None]:
    """Return the accepted causes, each with its reason or None; raises ValueError."""
    if not raw:
        return {}
    from .model import CAUSES  # loads the dataclasses, which a run without us need not pay

    return _reasons(raw, CAUSES, "cause")


def allowed_categories(raw: Any) -> dict[str, str | None]:
    """Return the accepted categories of calls, each with its reason or None; raises ValueError."""
    if not raw:
        return {}
    from .model import CATEGORIES  # as above

    return _reasons(raw, CATEGORIES, "category")


def categories(raw: Any) -> tuple[str, ...]:
    """Return categories of blocking calls; raises ValueError."""
    if raw == CALLS_THAT_FAIL:  # in every run: the model is not loaded for it
        return tuple(CALLS_THAT_FAIL.split(", "))
    from .model import CATEGORIES

    names = re.split(r"[\s,]+", raw.strip()) if isinstance(raw, str) else raw
    known = isinstance(names, (list, tuple, set, frozenset)) and names
    if not known or not all(name in CATEGORIES for name in names):
        raise ValueError(f"one or more of {', '.join(CATEGORIES)}")
    return tuple(name for name in CATEGORIES if name in names)


def guard_calls(raw: Any) -> dict[str, str]:
    """Return the categories of C functions, by the functions' dotted names; raises ValueError."""
    if not raw:
        return {}
    from .model import CATEGORIES

    lines = raw.splitlines() if isinstance(raw, str) else raw
    if not isinstance(lines, (list, tuple)) or not all(isinstance(one, str) for one in lines):
        raise ValueError(_GUARD_CALL)
    found = {}
    for line in filter(None, map(str.strip, lines)):
        name, _, category = (part.strip() for part in line.partition(":"))
        if not re.fullmatch(DOTTED, name) or (category or "network") not in CATEGORIES:
            raise ValueError(f"{_GUARD_CALL} (one of {', '.join(CATEGORIES)})")
        found[name] = category or "network"
    return found


def one_of(*choices: str) -> Callable[[Any], str]:
    """Return a function that accepts ``choices``, and raises ValueError for anything else."""

    def parse(raw: Any) -> str:
        if raw not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return str(raw)

    return parse


def transport(raw: Any) -> str:
    """Return a transport whose server is installed; raises ValueError."""
    name = one_of("asgi", "uvicorn", "hypercorn")(raw)
    if name != "asgi" and importlib.util.find_spec(name) is None:
        raise ValueError(f"asgi while {name} is not installed (pip install {name})")
    return name


def file_name(raw: Any) -> str:
    """Return a file name; raises ValueError for what is empty."""
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError("a file name")
    return raw.strip()


def app(raw: Any) -> str:
    """Return where an app or its factory is, as module:attribute; raises ValueError."""
    if not isinstance(raw, str) or not re.fullmatch(_APP, raw):
        raise ValueError("module:attribute, such as myapp.main:app or myapp.main:create_app()")
    return raw


def switch(raw: Any) -> bool:
    """Return what words such as yes and off mean; raises ValueError."""
    words = {"true": True, "yes": True, "on": True, "1": True}
    words |= {"false": False, "no": False, "off": False, "0": False}
    known = words.get(str(raw).strip().lower())
    if known is None:
        raise ValueError("true or false")
    return known


def texts(raw: Any, must_be: str = "text or a list of text") -> tuple[str, ...]:
    """Return the lines of a text or a list, without empty ones; raises ValueError."""
    lines = raw.splitlines() if isinstance(raw, str) else raw
    if not isinstance(lines, (list, tuple)) or not all(isinstance(one, str) for one in lines):
        raise ValueError(must_be)
    return tuple(line.strip() for line in lines if line.strip())


def file_names(raw: Any) -> tuple[str, ...]:
    """Return file names, given as lines or as a list; raises ValueError."""
    return texts(raw, "a file name or a list of file names")


def methods(raw: Any) -> tuple[str, ...]:
    """Return methods of HTTP in upper case; raises ValueError."""
    words = re.split(r"[\s,]+", raw.strip()) if isinstance(raw, str) else raw
    named = isinstance(words, (list, tuple)) and words
    if not named or not all(isinstance(word, str) and word.upper() in METHODS for word in words):
        raise ValueError(f"one or more of {', '.join(METHODS)}")
    return tuple(word.upper() for word in words)


def operations(raw: Any) -> tuple[str, ...]:
    """Return paths, each after an optional method; raises ValueError."""
    lines = texts(raw)
    for line in lines:
        method, _, path = line.rpartition(" ")
        if not path.startswith("/") or (method and len(methods(method)) != 1):
            raise ValueError("paths, each after an optional method, such as 'GET /health'")
    return lines


def limits_by_pattern(raw: Any) -> dict[str, dict[str, str]]:
    """Return raw settings by the patterns of operations; raises ValueError."""
    found: dict[str, dict[str, str]] = {}
    for line in texts(raw):
        pattern, colon, rest = line.rpartition(": ")
        pairs = [one.partition("=") for one in rest.split(",")]
        if not colon or not all(name.strip() and equals for name, equals, _ in pairs):
            raise ValueError(
                "lines such as 'GET /reports/*: max_serial_fraction=0.3, max_lag=50ms'"
            )
        found[pattern.strip()] = {name.strip(): value.strip() for name, _, value in pairs}
    return found
