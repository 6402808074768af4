"""The ladder of inputs: each step is tried in turn, and the first request that answers stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ..accepts import SAFE_METHODS
from ..load.scenario import CannotMeasureError
from . import answers, links, mcp
from .operation import Link, Operation, Parameter, names_in
from .request import GIVE_UP, Answer, Request, first_answer, has_cookie, request_for
from .setup import Scan, for_copy
from .values import Value, declared, simplest

_ATTEMPTS = 6
_MISSES_VALUES = (400, 404, 422)
_OR_INSTALL = ", or install pytest-nonblocking[scan], which generates them from their schemas"
_COPIES = 5
_FOLLOWS = 2
_LINKS = 3
"""How many links are followed one after another, and how many for one parameter."""
HOST, OTHER_HOST = "localhost", "testserver"
"""The hosts that apps accept in development and in tests."""
_GUESS = "made from the schema"
_GIVEN = "given by nonblocking_scan"

Generate = Callable[[Operation], Sequence[dict[str, Any]]]


@dataclass(frozen=True)
class Prepared:
    """Requests that the operation answers, for the copies in turn.

    ``sources`` say where their values are from. ``values`` are those of the first, by name.
    """

    requests: tuple[Request, ...]
    sources: tuple[str, ...]
    answer: Answer
    values: Mapping[str, Any]
    make: Callable[[int], Request] | None = None
    """Makes the request of a copy, if the user gave callables or calls are numbered."""

    def for_copy(self, copy: int) -> Request:
        """Return the request of the copy with the index ``copy``."""
        return self.make(copy) if self.make else self.requests[copy % len(self.requests)]


class NeedsInputError(CannotMeasureError):
    """No request was answered; ``missing`` are the names of values that the user may give."""

    def __init__(self, why: str, missing: Sequence[str] = ()) -> None:
        super().__init__(why)
        self.missing = tuple(missing)


class _Source(NamedTuple):
    """An operation that is asked for values, its name, and how its answer is read."""

    ladder: Ladder
    name: str
    read: Callable[[Prepared], list[Any]]


class Ladder:
    """Finds a request for one operation, with a client whose app has started.

    ``operations`` are those that may be asked for values. ``follows`` is how many links are
    followed, one after another.
    """

    def __init__(
        self,
        operation: Operation,
        operations: Sequence[Operation],
        client: Any,
        scan: Scan,
        generate: Generate | None = None,
        follows: int = _FOLLOWS,
    ) -> None:
        self._operation = operation
        self._operations = operations
        self._client = client
        self._scan = scan
        self._generate = None if operation.tool else generate
        self._follows = follows
        self._given: dict[str, Any] = {}

    async def climb(self) -> Prepared:
        """Return the first requests that are answered; raises NeedsInputError."""
        self._given = self._scan.values_for(self._operation)  # which the set-up may have changed
        wanted = [one for one in self._operation.parameters if self._wants(one)]
        options = {one.name: await self._options(one) for one in wanted}
        if self._operation.body is not None:
            options["body"] = self._bodies()
        refused = None
        if self._operation.tool:
            refused = await mcp.open_session(self._client, self._operation)
        last = refused or await self._try(self._at_hand(options), options)
        if last is None or (isinstance(last, Answer) and last.status in _MISSES_VALUES):
            last = await self._try(self._made(options), options) or last
        if isinstance(last, Prepared):
            return last
        raise NeedsInputError(self._why(last), self._missing(last, options))

    def _wants(self, parameter: Parameter) -> bool:
        """Return whether a request needs a value; not for a cookie that a login has set."""
        if parameter.name in self._given:
            return True
        kept = parameter.where == "cookie" and has_cookie(self._client, parameter.name)
        return parameter.required and not kept

    async def _try(
        self, attempts: Iterable[dict[str, Value]], options: dict[str, list[Value]]
    ) -> Prepared | Answer | None:
        """Return the first requests that are answered, or the last answer that is none."""
        last = None
        for chosen in attempts:
            request = self._request({name: one.value for name, one in chosen.items()}, 0)
            answer = await self._answer(request)
            if answer is None:
                raise NeedsInputError(f"no response within {GIVE_UP:g} s")
            if answer.answers:
                request = replace(request, chunks=answer.chunks)
                return await self._prepared(request, chosen, answer, options)
            last = answer
            if answer.status in (401, 403):
                break
        return last

    def _at_hand(self, options: dict[str, list[Value]]) -> Iterator[dict[str, Value]]:
        """Yield values by name: of each parameter the first, then the second, and so on."""
        if not all(options[name] for name in names_in(self._operation.path)):
            return  # the path would be another one
        longest = max(map(len, options.values()), default=0)
        for number in range(max(1, min(longest, _ATTEMPTS))):
            yield {name: v[min(number, len(v) - 1)] for name, v in options.items() if v}

    def _made(self, options: dict[str, list[Value]]) -> Iterator[dict[str, Value]]:
        """Yield generated values, except where others than guesses are known."""
        if not options or self._generate is None:
            return
        known = {n: v[0] for n, v in options.items() if v and v[0].source != _GUESS}
        for values in self._generate(self._operation):
            wanted = {n: v for n, v in values.items() if n in options}
            yield {n: Value(v, "generated from the schema") for n, v in wanted.items()} | known

    async def _answer(self, request: Request) -> Answer | None:
        """Return the app's answer; an exception that it raises is one with the status 500."""
        try:
            answer = await first_answer(self._client, request)
            if self._refuses_host(answer):
                self._client.base_url = f"http://{OTHER_HOST}"
                answer = await first_answer(self._client, request)
        except Exception as error:
            return Answer(500, {}, f"{type(error).__name__}: {error}".encode())
        return mcp.judged(answer) if answer is not None and self._operation.tool else answer

    def _refuses_host(self, answer: Answer | None) -> bool:
        """Return whether the app accepts no requests to the host, and there is another to try."""
        refused = answer is not None and answer.status in (400, 403, 421)
        by_host = refused and answer is not None and b"host" in answer.content.lower()
        return by_host and self._client.base_url.host == HOST

    def _request(self, values: dict[str, Any], copy: int) -> Request:
        values = {**values, **for_copy(self._given, copy)}
        body = values.get("body")
        return request_for(self._operation, values, body, copy)

    async def _options(self, parameter: Parameter) -> list[Value]:
        """Return the values to try for ``parameter``, in the order of the ladder."""
        if parameter.name in self._given:
            return [Value(for_copy(self._given, 0)[parameter.name], _GIVEN)]
        found = list(declared(parameter.schema, parameter.examples))
        if not found:
            found += await self._from_answers(parameter)
        if (guess := simplest(parameter.schema)) is not None:
            if parameter.where == "path" and guess == "string":
                found.append(Value("1", _GUESS))
            found.append(Value(guess, _GUESS))
        return found

    async def _from_answers(self, parameter: Parameter) -> list[Value]:
        """Return the values for ``parameter`` that the app's other operations answer with."""
        for ladder, source, read in (*self._linked(parameter), *self._named(parameter)):
            try:
                found = read(await ladder.climb())
            except NeedsInputError:
                continue
            if found:
                return [Value(value, f"from {source}") for value in found]
        return []

    def _linked(self, parameter: Parameter) -> Iterator[_Source]:
        """Yield the operations whose described links give the value of ``parameter``."""
        others = {one.name: one for one in self._operations if one is not self._operation}
        known = [one for one in self._operation.links if one.source in others]
        for link in [one for one in known if one.gives(parameter)][:_LINKS]:
            if not self._follows:
                return

            def read(prepared: Prepared, link: Link = link) -> list[Any]:
                found = links.linked_values(link.expression, prepared.values, prepared.answer)
                return [self._part_of(value, prepared, parameter) for value in found]

            source = others[link.source]
            ladder = self._of(source, list(others.values()), self._follows - 1)
            yield _Source(ladder, f"a link of {source.name}", read)

    def _named(self, parameter: Parameter) -> Iterator[_Source]:
        """Yield the operations that seem to list or create what ``parameter`` is named after."""
        name, resource = parameter.name, answers.resource_of(self._operation, parameter.name)
        for source in answers.sources(self._operation, name, self._operations):

            def read(prepared: Prepared) -> list[Any]:
                asked, answer = self._address(prepared), prepared.answer
                found: list[Any] = []
                if parameter.where == "path":
                    found = links.addressed(answer, asked, self._operation, name, self._operations)
                return found or answers.values_in(answer.json(), name, resource)

            # Of those with shorter paths only, so that it ends.
            shorter = [one for one in self._operations if len(one.path) < len(source.path)]
            yield _Source(self._of(source, shorter, self._follows), source.name, read)

    def _of(self, source: Operation, operations: Sequence[Operation], follows: int) -> Ladder:
        return Ladder(source, operations, self._client, self._scan, follows=follows)

    def _address(self, prepared: Prepared) -> str:
        return str(self._client.base_url.join(prepared.requests[0].path))

    def _part_of(self, value: Any, prepared: Prepared, parameter: Parameter) -> Any:
        """Return the parameter in ``value`` if that is the address of the operation, else it."""
        if parameter.where != "path" or not str(value).startswith(links.ADDRESS):
            return value
        asked, name = self._address(prepared), parameter.name
        return links.parameter_in(value, asked, self._operation, name, self._operations) or value

    def _bodies(self) -> list[Value]:
        if "body" in self._given:
            return [Value(for_copy(self._given, 0)["body"], _GIVEN)]
        body = self._operation.body
        assert body is not None  # asked for operations with a body only
        found = list(declared(body.schema, body.examples))
        if (guess := simplest(body.schema)) is not None:
            found.append(Value(guess, _GUESS))
        return found

    async def _prepared(
        self,
        request: Request,
        chosen: dict[str, Value],
        answer: Answer,
        options: dict[str, list[Value]],
    ) -> Prepared:
        sources = tuple(
            f"{name}={_shown(one.value)} ({one.source})" for name, one in chosen.items()
        )
        values = {name: one.value for name, one in chosen.items()}
        sent = {**values, **for_copy(self._given, 0)}
        if self._operation.tool or any(callable(value) for value in self._given.values()):

            def make(copy: int) -> Request:
                return replace(self._request(values, copy), chunks=request.chunks)

            return Prepared((request,), sources, answer, sent, make)
        requests = [request, *await self._others(chosen, answer, options)]
        return Prepared(tuple(requests), sources, answer, sent)

    async def _others(
        self, chosen: dict[str, Value], answer: Answer, options: dict[str, list[Value]]
    ) -> list[Request]:
        """Return requests with other values of the app's answers that are answered alike."""
        name = next((n for n in reversed(chosen) if chosen[n].source.startswith("from ")), None)
        if name is None or self._operation.method not in SAFE_METHODS:
            return []
        found = []
        others = [one for one in options[name] if one.source == chosen[name].source]
        for one in others[:_COPIES]:
            if one.value == chosen[name].value:
                continue
            values = {n: v.value for n, v in chosen.items()} | {name: one.value}
            request = self._request(values, 0)
            also = await self._answer(request)
            if also is not None and also.status == answer.status and also.chunks == answer.chunks:
                found.append(replace(request, chunks=also.chunks))
        return found

    def _why(self, answer: Answer | None) -> str:
        generates = self._generate is not None or bool(self._operation.tool)
        if answer is None:
            return "no value fits its path: give its inputs" + ("" if generates else _OR_INSTALL)
        shown = f"the app answered {answer.status} {answer.first_line}".strip()
        schemes = ", ".join(self._operation.security)
        if answer.status == 401 or (answer.status == 403 and schemes):
            needs = f"credentials for {schemes}" if schemes else "credentials"
            return f"{shown}: give {needs} as headers or cookies"
        if answer.status == 403:
            return f"{shown}: if it needs credentials, give them as headers or cookies"
        if answer.status < 500 and (self._operation.parameters or self._operation.body):
            generates = generates or answer.status == 404
            return f"{shown}: give its inputs" + ("" if generates else _OR_INSTALL)
        return f"{shown}: seed the data that it needs, or exclude it"

    def _missing(self, answer: Answer | None, options: dict[str, list[Value]]) -> list[str]:
        if answer is not None and answer.status in (401, 403):
            return []
        guessed = [n for n, values in options.items() if all(v.source == _GUESS for v in values)]
        return guessed or [
            name
            for name, values in options.items()
            if not any(one.source == _GIVEN for one in values)
        ]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"
