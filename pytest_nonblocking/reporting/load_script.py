"""The requests of a report's tests as a script for a load generator: Locust or k6.

The script sends what one copy of each test sent, from as many users at once, without a pause.
Credentials are not in a report; a script takes them from variables of the environment.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import count
from typing import NamedTuple

from .record import Record, Report, Request

_SECONDS = 30
"""How long each scenario of a k6 script runs."""
_LOCUST = '''\
"""Sends the requests of measured tests to a deployed server. Written by {tool}.

{commands}{needs}
"""

{imports}from locust import HttpUser, constant, task

'''
_LOCUST_CLASSES = (
    "Another class has fixed_count users of its own. Without a class, all run at once:"
)
_K6 = """\
// Sends the requests of measured tests to a deployed server, one test after another.
// Written by {tool}.
//
//     k6 run -e BASE_URL=http://127.0.0.1:8000 {name}
//{needs}
import http from 'k6/http';{imports}

const BASE_URL = __ENV.BASE_URL || 'http://127.0.0.1:8000';

"""


_TAKEN_IN_PYTHON = {*keyword.kwlist, "HttpUser"}
_RESERVED_IN_JAVASCRIPT = """
arguments await break case catch class const continue debugger default delete do else enum eval
export extends false finally for function if implements import in instanceof interface let new null
package private protected public return static super switch this throw true try typeof var void
while with yield
"""
_CALLED_BY_K6 = ("handleSummary", "setup", "teardown")
_TAKEN_IN_JAVASCRIPT = {
    *_RESERVED_IN_JAVASCRIPT.split(),
    *_CALLED_BY_K6,
    *("BASE_URL", "encoding", "http", "options"),
}


class Scenario(NamedTuple):
    """The requests of one test, a name made of the test's, and its concurrency."""

    name: str
    record: Record

    @property
    def users(self) -> int:
        """The number of users who send them at once."""
        limit = self.record.limits.get("concurrency")
        return limit.value if limit is not None and isinstance(limit.value, int) else 1


def scenarios(report: Report) -> list[Scenario]:
    """Return a scenario for each test that sent requests through ``nonblocking_client``."""
    found = []
    for record in report.tests:
        if record.requests:
            name = re.sub(r"\W+", "_", record.nodeid.rpartition("::")[2], flags=re.ASCII).strip("_")
            name = f"test_{name}" if not name[:1].isalpha() else name
            found.append(Scenario(name, record))
    return found


def _named(
    given: Sequence[Scenario], taken: Collection[str], named: Callable[[str], str] = str
) -> list[Scenario]:
    """Return the scenarios by their names in a language, each once and none of those taken."""
    found: dict[str, Scenario] = {}
    for one in given:
        numbered = (named(one.name if n == 1 else f"{one.name}_{n}") for n in count(1))
        name = next(name for name in numbered if name not in taken and name not in found)
        found[name] = one._replace(name=name)
    return list(found.values())


def locust(given: Sequence[Scenario], tool: str, name: str) -> str:
    """Return a locustfile called ``name``."""
    given, needs = _named(given, _TAKEN_IN_PYTHON, _class_name), _needs(given, "\n\n", "")
    commands = _locust_command(name, given[:1], given[0].name)
    if len(given) > 1:
        commands += f"\n\n{_LOCUST_CLASSES}\n\n{_locust_command(name, given)}"
    imports = "import base64\n" * _has_base64(given) + "import os\n" * bool(needs)
    imports = f"{imports}\n" if imports else ""
    lines = [_LOCUST.format(tool=tool, commands=commands, needs=needs, imports=imports)]
    for one in given:
        lines += [
            f"\nclass {one.name}(HttpUser):",
            f"    {_text(one.record.nodeid)}\n",
            f"    fixed_count = {one.users}",
            "    wait_time = constant(0)\n",
            "    @task",
            "    def scenario(self):",
            *(f"        {line}" for request in one.record.requests for line in _in_python(request)),
            "",
        ]
    return "\n".join(lines)


def k6(given: Sequence[Scenario], tool: str, name: str) -> str:
    """Return a script for k6 that is called ``name``."""
    given, needs = _named(given, _TAKEN_IN_JAVASCRIPT), _needs(given, "\n// ", "\n//")
    imports = "\nimport encoding from 'k6/encoding';" * _has_base64(given)
    lines = [_K6.format(tool=tool, name=name, needs=needs, imports=imports)]
    lines += ["export const options = {", "  scenarios: {"]
    for number, one in enumerate(given):
        about = f"exec: '{one.name}', vus: {one.users}, duration: '{_SECONDS}s'"
        start = f"startTime: '{number * _SECONDS}s'"
        lines.append(f"    {one.name}: {{ executor: 'constant-vus', {about}, {start} }},")
    lines += ["  },", "};"]
    for one in given:
        lines += [
            f"\n// {_one_line(one.record.nodeid)}",
            f"export function {one.name}() {{",
            *(f"  {line}" for request in one.record.requests for line in _in_javascript(request)),
            "}",
        ]
    return "\n".join((*lines, ""))


def _locust_command(file: str, run: Sequence[Scenario], *classes: str) -> str:
    # Without --users, Locust starts a single user, even if fixed_count is larger.
    users = sum(one.users for one in run)
    options = f"--headless --users {users} --spawn-rate {users} --run-time 30s"
    words = ("locust -f", file, options, "--host http://127.0.0.1:8000", *classes)
    return f"    {' '.join(words)}"


def _class_name(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _has_base64(given: Sequence[Scenario]) -> bool:
    return any(one.encoding == "base64" for each in given for one in each.record.requests)


def _needs(given: Sequence[Scenario], before: str, after: str) -> str:
    """Return the sentence that lists the variables to set, empty if there are none."""
    requests = [request for one in given for request in one.record.requests]
    names = sorted({name for request in requests for name in _credentials(request)})
    return f"{before}Set {', '.join(names)} in the environment.{after}" if names else ""


def _credentials(request: Request) -> Iterator[str]:
    yield from (_variable(name) for name, value in request.headers.items() if value is None)
    yield from (_variable(name) for name in re.findall(r"{(.*?)}", request.path))


def _variable(name: str) -> str:
    return re.sub(r"\W+", "_", name.upper(), flags=re.ASCII)


def _in_python(request: Request) -> Iterator[str]:
    def environment(name: str) -> str:
        return f'os.environ["{_variable(name)}"]'

    yield from _comment(request, "#")
    arguments = [_text(request.method), _path(request.path, environment)]
    if request.headers:
        arguments.append(f"headers={_headers(request, environment)}")
    if request.body:
        text = _text(request.body)
        encoded = (
            f"base64.b64decode({text})" if request.encoding == "base64" else f"{text}.encode()"
        )
        arguments.append(f"data={encoded}")
    yield f"self.client.request({', '.join(arguments)})"


def _in_javascript(request: Request) -> Iterator[str]:
    def environment(name: str) -> str:
        return f"__ENV.{_variable(name)}"

    yield from _comment(request, "//")
    body = _text(request.body) if request.body else "null"
    if request.encoding == "base64":
        body = f"encoding.b64decode({body})"
    path = f"BASE_URL + {_path(request.path, environment)}"
    params = f"{{ headers: {_headers(request, environment)} }}"
    yield f"http.request({_text(request.method)}, {path}, {body}, {params});"


def _comment(request: Request, mark: str) -> Iterator[str]:
    if request.left_out:
        yield f"{mark} The body is missing: {_one_line(request.left_out)}."


def _headers(request: Request, environment: Callable[[str], str]) -> str:
    pairs = (
        f"{_text(name)}: {environment(name) if value is None else _text(value)}"
        for name, value in request.headers.items()
    )
    return f"{{{', '.join(pairs)}}}"


def _path(path: str, environment: Callable[[str], str]) -> str:
    """Return the path as an expression."""
    parts = re.split(r"{(.*?)}", path)
    texts = (environment(p) if n % 2 else _text(p) for n, p in enumerate(parts))
    return " + ".join(text for text in texts if text != '""')


def _text(text: str) -> str:
    """Return ``text`` as a literal that Python and JavaScript read alike."""
    return json.dumps(text, ensure_ascii=False)
