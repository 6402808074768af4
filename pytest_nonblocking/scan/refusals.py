"""What an app's refusal of a request means, and what the user may give to change it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .operation import Operation, Scheme
from .prepared import Needs
from .request import Answer
from .values import GIVEN, GUESS, Value

_OTHER_REASONS = (401, 403, 405, 406, 429)
"""Statuses below 500 of answers to which other values make no difference."""
_REFUSING_HOSTS = (400, 403, 421)
_HOST = re.compile(r"(?<![a-z])(disallowed)?host(?![a-z])", re.IGNORECASE)
_OR_INSTALL = ", or install pytest-nonblocking[scan], which generates them from their schemas"

Options = Mapping[str, list[Value]]
"""The values that were tried, by the name of their parameter."""


def misses_values(answer: Answer | None) -> bool:
    """Return whether other values may make a difference; None is no answer yet."""
    return answer is None or (answer.status not in _OTHER_REASONS and not answer.to_login)


def needed(
    answer: Answer | None, operation: Operation, options: Options, *, generates: bool
) -> Needs:
    """Return what the user may give after the last ``answer``: values, or credentials.

    ``generates`` says whether values were generated from the schemas.
    """
    why = _why_refused(answer, operation, options, generates=generates)
    if answer is None:
        return Needs(why, _missing(options))
    is_secured = answer.status == 403 and bool(operation.security)
    if not (answer.to_login or answer.status == 401 or is_secured) and _refuses_host(answer):
        return Needs(why, headers={"Host": "..."})
    if not answer.to_login and answer.status not in (401, 403):
        return Needs(why, _missing(options))
    scheme = operation.security[0] if operation.security else Scheme("")
    if scheme.where == "query":
        return Needs(why, [scheme.key])
    given = {scheme.key: scheme.text}
    return Needs(why, cookies=given) if scheme.where == "cookie" else Needs(why, headers=given)


def _why_refused(
    answer: Answer | None, operation: Operation, options: Options, *, generates: bool
) -> str:
    """Return what the app answered last, and what to do."""
    if answer is None:
        return "no value fits its path: give its inputs" + ("" if generates else _OR_INSTALL)
    shown = f"the app answered {answer.status} {answer.first_line}".strip()
    if answer.to_login:
        return f"{shown}: give credentials as headers or cookies, or log in in `before`"
    schemes = ", ".join(one.name for one in operation.security)
    if answer.status == 401 or (answer.status == 403 and schemes):
        needs = f"credentials for {schemes}" if schemes else "credentials"
        in_query = any(one.where == "query" for one in operation.security[:1])
        return f"{shown}: give {needs} as {'inputs' if in_query else 'headers or cookies'}"
    if _refuses_host(answer):
        return f'{shown}: give a host that it accepts, as headers={{"Host": ...}}'
    if answer.status == 403:
        return f"{shown}: if it needs credentials, give them as headers or cookies"
    if answer.status < 500 and (options or operation.parameters or operation.body):
        generates = generates or answer.status == 404 or not options
        return f"{shown}: give its inputs" + ("" if generates else _OR_INSTALL)
    if options:
        return f"{shown}: give its inputs, seed the data that it needs, or exclude it"
    return f"{shown}: seed the data that it needs, or exclude it"


def _refuses_host(answer: Answer) -> bool:
    """Return whether an app refuses the host of a request, as ``Invalid host header`` says."""
    return answer.status in _REFUSING_HOSTS and _HOST.search(answer.first_line) is not None


def _missing(options: Options) -> list[str]:
    """Return the names of the values that the user may give."""
    guessed = [n for n, values in options.items() if all(v.source == GUESS for v in values)]
    return guessed or [
        name for name, values in options.items() if not any(one.source == GIVEN for one in values)
    ]
