"""The ladder of inputs: each step is tried in turn, and the first request that answers stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import anyio

from ..accepts import SAFE_METHODS
from . import answers, links, mcp
from .asking import Asking
from .demands import demanded
from .neighbours import Neighbours
from .operation import Link, Operation, Parameter, names_in
from .prepared import Needs, NeedsInputError, Prepared
from .refusals import misses_values, needed
from .request import GIVE_UP, Answer, Request, has_cookie, request_for
from .setup import Scan, for_copy
from .values import GIVEN, GUESS, Value, declared, simplest

_ATTEMPTS = 6
_COPIES = 5
_FOLLOWS = 2
_LINKS = 3
"""How many links are followed one after another, and how many for one parameter."""
_DEMANDS = 4
"""How often the app may ask for a parameter that it does not describe as required."""
_AROUND_WITHIN = 2.0
"""Seconds for which other operations are asked if nothing else answers: some streams do not end."""

Generate = Callable[[Operation], Sequence[dict[str, Any]]]


class _Source(NamedTuple):
    """An operation that is asked for values, its name, and how its answer is read."""

    ladder: Ladder
    name: str
    read: Callable[[Prepared], list[Any]]


class Answered:
    """What operations have answered so far: each is asked once for the values of all parameters.

    ``seeded`` are those that a set-up of the user has asked.
    """

    def __init__(self) -> None:
        self.seeded: list[Operation] = []
        self._seeds: dict[str, list[Prepared]] = {}
        self._kept: dict[tuple[str, int], list[Prepared]] = {}

    def seed(self, answers: Iterable[Prepared]) -> None:
        """Keep the ``answers`` that a set-up got."""
        for one in answers:
            operation = one.requests[0].operation
            if operation.name not in self._seeds:
                self.seeded.append(operation)
            self._seeds.setdefault(operation.name, []).append(one)

    async def of(self, ladder: Ladder) -> list[Prepared]:
        """Return what the operation of ``ladder`` answers, nothing if it does not."""
        name = ladder.operation.name
        if name in self._seeds:
            return self._seeds[name]
        key = (name, ladder.follows)
        if key not in self._kept:
            try:
                self._kept[key] = [await ladder.climb()]
            except NeedsInputError:
                self._kept[key] = []
        return self._kept[key]


class Ladder:
    """Finds a request for one operation, with a client whose app has started.

    ``operations`` are those that may be asked for values. ``follows`` is how many links are
    followed, one after another. A ladder that ``looks_around`` asks further operations if nothing
    else answers. Values that make the path that of an ``avoided`` operation are not sent.
    """

    def __init__(
        self,
        operation: Operation,
        operations: Sequence[Operation],
        client: Any,
        scan: Scan,
        generate: Generate | None = None,
        answered: Answered | None = None,
        avoided: Sequence[Operation] = (),
        follows: int = _FOLLOWS,
        looks_around: bool = True,
    ) -> None:
        self.operation = self._operation = operation
        self._answered = Answered() if answered is None else answered
        self._operations = operations
        self._client = client
        self._scan = scan
        self._generate = None if operation.tool else generate
        self.follows = follows
        self._looks_around = looks_around and not operation.tool
        self._avoided = avoided
        self._given: dict[str, Any] = {}
        self._asking = Asking(client, operation)
        self._neighbours = Neighbours(operation, operations, client)

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
        for _ in range(_DEMANDS):
            new = demanded(last, self._operation) if isinstance(last, Answer) else []
            new = [one for one in new if one.name not in (*options, *self._given)]
            if not new:
                break
            options |= {one.name: await self._options(one) for one in new}
            last = await self._try(self._at_hand(options), options)
        if self._looks_around and _may_change(last) and self._uncertain(options):
            last = await self._try_around(options) or last
        if _may_change(last) and not (isinstance(last, Answer) and last.status >= 500):
            last = await self._try(self._made(options), options) or last
        if isinstance(last, Prepared):
            return last
        generates = self._generate is not None or bool(self._operation.tool)
        raise NeedsInputError(needed(last, self._operation, options, generates=generates))

    def _wants(self, parameter: Parameter) -> bool:
        """Return whether a request needs a value; not for a cookie that a login has set."""
        if parameter.name in self._given:
            return True
        kept = parameter.where == "cookie" and has_cookie(self._client, parameter.name)
        return parameter.required and not kept

    async def _try(
        self,
        attempts: Iterable[dict[str, Value]],
        options: dict[str, list[Value]],
        alike: Sequence[dict[str, Value]] | None = None,
    ) -> Prepared | Answer | None:
        """Return the first requests that are answered, or what the app says to the first values.

        These are the most likely ones. If it says to some that other values may help, it is that.
        ``alike`` are the values of the other copies, by default those of one parameter's options.
        """
        refused = None
        for chosen in attempts:
            request = self._request(_plain(chosen), 0)
            if self._is_avoided(request):
                continue
            answer = await self._asking.answer(request)
            request = self._request(_plain(chosen), 0)  # where the app may have moved it
            if answer is None:
                raise NeedsInputError(Needs(f"no response within {GIVE_UP:g} s"))
            if answer.answers:
                request = replace(request, chunks=answer.chunks)
                if alike is None:
                    alike = self._alike(chosen, options)
                return await self._prepared(request, chosen, answer, alike)
            if answer.status in (401, 403) or answer.to_login:
                return answer
            if refused is None or (misses_values(answer) and not misses_values(refused)):
                refused = answer
        return refused

    async def _try_around(self, options: dict[str, list[Value]]) -> Prepared | Answer | None:
        """Try the values in what other operations answer: in addresses, or by their names."""
        last, wanted = None, self._uncertain(options)
        found: dict[str, list[Value]] = {}
        shared: dict[str, list[Value]] = {}
        with anyio.move_on_after(_AROUND_WITHIN):
            for one in self._neighbours.nearest(self._answered.seeded):
                for prepared in await self._answered.of(self._ladder_of(one)):
                    if led := self._led(prepared, one.name, options):
                        last = await self._try(led, options, led)
                        if isinstance(last, Prepared):
                            return last
                    for name in wanted - {*found}:
                        if values := self._neighbours.named(prepared, name):
                            found[name] = [Value(value, f"from {one.name}") for value in values]
                    for name in wanted - {*shared}:
                        if values := self._neighbours.shared(prepared, name):
                            shared[name] = [Value(value, f"from {one.name}") for value in values]
                if wanted and not wanted - {*found}:
                    break
        found = shared | found
        if not found:
            return last
        options.update({name: [*values, *options[name]] for name, values in found.items()})
        return await self._try(self._at_hand(options), options) or last

    def _led(
        self, prepared: Prepared, source: str, options: dict[str, list[Value]]
    ) -> list[dict[str, Value]]:
        """Return the values in the addresses of an answer that lead to this operation."""
        first = {name: values[0] for name, values in options.items() if values}
        given = {name: one for name, one in first.items() if one.source == GIVEN}
        return [
            first | {n: Value(v, f"from {source}") for n, v in values.items()} | given
            for values in self._neighbours.leading(prepared)
        ]

    def _uncertain(self, options: dict[str, list[Value]]) -> set[str]:
        """Return the names of the parameters whose values are neither given nor described."""
        return {
            name
            for name, values in options.items()
            if name != "body"
            and all(one.source == GUESS or one.source.startswith("from ") for one in values)
        }

    def _at_hand(self, options: dict[str, list[Value]]) -> Iterator[dict[str, Value]]:
        """Yield values by name: of each parameter the first, then the second, and so on."""
        if not all(options[name] for name in names_in(self._operation.path)):
            return  # the path would be another one
        longest = max(map(len, options.values()), default=0)
        for number in range(max(1, min(longest, _ATTEMPTS))):
            yield self._consistent(
                {name: v[min(number, len(v) - 1)] for name, v in options.items() if v}
            )

    def _consistent(self, chosen: dict[str, Value]) -> dict[str, Value]:
        """Return ``chosen`` with the values of outer parameters with which an inner one was found.

        The first user may have no posts.
        """
        outer = {name: one for value in chosen.values() for name, one in value.along.items()}
        kept = {name for name, value in chosen.items() if value.source == GIVEN}
        return chosen | {n: v for n, v in outer.items() if n in chosen and n not in kept}

    def _made(self, options: dict[str, list[Value]]) -> Iterator[dict[str, Value]]:
        """Yield generated values, except where others than guesses are known."""
        if not options or self._generate is None:
            return
        first = {n: v[0] for n, v in options.items() if v}
        known = {n: one for n, one in first.items() if one.source != GUESS}
        for values in self._generate(self._operation):
            made = {n: v for n, v in values.items() if n in options}
            made_up = {n: Value(v, "generated from the schema") for n, v in made.items()}
            yield first | made_up | known

    def _request(self, values: dict[str, Any], copy: int) -> Request:
        values = {**values, **for_copy(self._given, copy)}
        body = values.get("body")
        return self._asking.moved(request_for(self._operation, values, body, copy))

    def _is_avoided(self, request: Request) -> bool:
        """Return whether the app takes ``request`` for one to an operation that is avoided."""
        alike = [one for one in self._avoided if one.method == self._operation.method]
        found = links.matching(request.path, [self._operation, *alike])
        return found is not None and found[0] is not self._operation

    async def _options(self, parameter: Parameter) -> list[Value]:
        """Return the values to try for ``parameter``, in the order of the ladder."""
        if parameter.name in self._given:
            return [Value(for_copy(self._given, 0)[parameter.name], GIVEN)]
        found = declared(parameter.schema, parameter.examples)
        if not parameter.schema.keys() & {"enum", "const"}:  # of which there are no others
            found += await self._from_answers(parameter)
        if (guess := simplest(parameter.schema)) is not None:
            if parameter.takes_slashes and not self._is_another_without(parameter):
                found.append(Value("", GUESS))
            if guess == "string" and (parameter.where == "path" or not parameter.schema):
                found.append(Value("1", GUESS))
            found.append(Value(guess, GUESS))
        return found

    def _is_another_without(self, parameter: Parameter) -> bool:
        """Return whether the path without ``parameter``, such as ``/files/``, is another's."""
        path = self._operation.path.replace("{" + parameter.name + "}", "").rstrip("/")
        return any(one.path.rstrip("/") == path for one in self._operations)

    async def _from_answers(self, parameter: Parameter) -> list[Value]:
        """Return the values for ``parameter`` that the app's other operations answer with."""
        for ladder, source, read in (*self._linked(parameter), *self._named(parameter)):
            found: list[Value] = []
            for prepared in await self._answered.of(ladder):
                found += _values_of(prepared, source, read)
            if found:
                return found
        return []

    def _linked(self, parameter: Parameter) -> Iterator[_Source]:
        """Yield the operations whose described links give the value of ``parameter``."""
        others = {one.name: one for one in self._operations if one is not self._operation}
        known = [one for one in self._operation.links if one.source in others]
        for link in [one for one in known if one.gives(parameter)][:_LINKS]:
            if not self.follows:
                return

            def read(prepared: Prepared, link: Link = link) -> list[Any]:
                return self._neighbours.linked(prepared, parameter, link.expression)

            source = others[link.source]
            ladder = self._of(source, list(others.values()), self.follows - 1)
            yield _Source(ladder, f"a link of {source.name}", read)

    def _named(self, parameter: Parameter) -> Iterator[_Source]:
        """Yield the operations that seem to list or create what ``parameter`` is named after."""
        known = [one for one in self._answered.seeded if one not in self._operations]
        others = [*self._operations, *known]
        for source in answers.sources(self._operation, parameter.name, others):

            def read(prepared: Prepared) -> list[Any]:
                return self._neighbours.listed(prepared, parameter)

            yield _Source(self._ladder_of(source), source.name, read)

    def _ladder_of(self, source: Operation) -> Ladder:
        """Return the ladder of ``source``, which asks those with shorter paths, so that it ends."""
        shorter = [one for one in self._operations if len(one.path) < len(source.path)]
        return self._of(source, shorter, self.follows)

    def _of(self, source: Operation, operations: Sequence[Operation], follows: int) -> Ladder:
        return Ladder(
            source,
            operations,
            self._client,
            self._scan,
            answered=self._answered,
            avoided=self._avoided,
            follows=follows,
            looks_around=False,
        )

    def _bodies(self) -> list[Value]:
        if "body" in self._given:
            return [Value(for_copy(self._given, 0)["body"], GIVEN)]
        body = self._operation.body
        assert body is not None  # asked for operations with a body only
        found = declared(body.schema, body.examples)
        if (guess := simplest(body.schema)) is not None:
            found.append(Value(guess, GUESS))
        return found

    async def _prepared(
        self,
        request: Request,
        chosen: dict[str, Value],
        answer: Answer,
        alike: Iterable[dict[str, Value]],
    ) -> Prepared:
        sources = tuple(
            f"{name}={_shown(one.value)} ({one.source})" for name, one in chosen.items()
        )
        values = _plain(chosen)
        sent = {**values, **for_copy(self._given, 0)}
        if self._operation.tool or any(callable(value) for value in self._given.values()):

            def make(copy: int) -> Request:
                return replace(self._request(values, copy), chunks=request.chunks)

            return Prepared((request,), sources, answer, sent, make=make)
        others = await self._others(chosen, answer, alike)
        requests = (request, *(one.requests[0] for one in others))
        return Prepared(requests, sources, answer, sent, tuple(others))

    def _alike(
        self, chosen: dict[str, Value], options: dict[str, list[Value]]
    ) -> list[dict[str, Value]]:
        """Return the same with the other values that the app's answers have for a parameter."""
        name = next((n for n in reversed(chosen) if chosen[n].source.startswith("from ")), None)
        if name is None:
            return []
        others = [one for one in options[name] if one.source == chosen[name].source]
        return [self._consistent(chosen | {name: one}) for one in others[:_COPIES]]

    async def _others(
        self, chosen: dict[str, Value], answer: Answer, alike: Iterable[dict[str, Value]]
    ) -> list[Prepared]:
        """Return requests with other values that are answered alike."""
        found: list[Prepared] = []
        sent = _plain(chosen)
        for one in alike if self._operation.method in SAFE_METHODS else ():
            values = _plain(one)
            request = self._request(values, 0)
            if values == sent or self._is_avoided(request):
                continue
            also = await self._asking.answer(request)
            if also is not None and also.status == answer.status and also.chunks == answer.chunks:
                request = replace(request, chunks=also.chunks)
                found.append(Prepared((request,), (), also, values))
        return found


def _may_change(last: Prepared | Answer | None) -> bool:
    """Return whether nothing has answered yet and other values may make a difference."""
    return not isinstance(last, Prepared) and misses_values(last)


def _plain(chosen: Mapping[str, Value]) -> dict[str, Any]:
    return {name: one.value for name, one in chosen.items()}


def _values_of(
    prepared: Prepared, source: str, read: Callable[[Prepared], list[Any]]
) -> Iterator[Value]:
    """Yield the values in an answer; if it has none, those in the answers of the other requests.

    These come along with the values that were sent for them.
    """
    if found := read(prepared):
        yield from (Value(value, f"from {source}") for value in found)
        return
    for other in prepared.others:
        along = {name: Value(value, f"from {source}") for name, value in other.values.items()}
        if found := read(other):
            yield from (Value(value, f"from {source}", along) for value in found)
            return


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"
