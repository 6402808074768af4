"""From a case to the source files of its application."""

from __future__ import annotations

import textwrap
from typing import NamedTuple

from .compose import Case
from .truth import Label, Step

HELPERS = ("services", "storage", "drivers")
"""The modules of helpers, each called by the one before it."""

_SAYS = {
    "main": "The application.",
    "inner": "The application that is mounted.",
    "dependencies": "What handlers depend on.",
    "middleware": "What every request passes.",
    "services": "What handlers call.",
    "storage": "What services call.",
    "drivers": "What the storage calls.",
    "jobs": "What other processes do.",
    "shared": "What all requests share, filled when the application starts.",
}
_SHARED = """
shared = SimpleNamespace()


def filled(width: int) -> asyncio.Queue[int]:
    \"\"\"Return a pool of ``width`` connections.\"\"\"
    pool: asyncio.Queue[int] = asyncio.Queue()
    for number in range(width):
        pool.put_nowait(number)
    return pool
"""
_LIFESPAN_IMPORTS = (
    "import asyncio",
    "import threading",
    "import time",
    "from collections.abc import AsyncIterator",
    "from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor",
    "from contextlib import ExitStack, asynccontextmanager",
    "from multiprocessing import get_context",
    "from anyio import CapacityLimiter",
    "from fastapi import FastAPI",
)
_JOB = """
def job_{n}() -> None:
    total = 0
    for value in range(int({ms} * LOOP)):
        total = (total + value * 31) % 65_521
"""


class _Module:
    """A source file in the making."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.imports: set[str] = set()
        self._blocks: list[str] = []

    def add(self, block: str, *imports: str) -> None:
        """Append a definition."""
        self.imports.update(imports)
        self._blocks.append(block.strip("\n"))

    def text(self) -> str:
        """Return the source."""
        if self.name != "shared" and any("shared." in block for block in self._blocks):
            self.imports.add("from .shared import filled, shared")
        head = [f'"""{_SAYS[self.name]}"""', "from __future__ import annotations"]
        imports = "\n".join(
            sorted(self.imports, key=lambda line: (line.startswith("from ."), line))
        )
        return "\n\n".join([*head, imports, *("\n" + block for block in self._blocks)]) + "\n"


class _Numbered(NamedTuple):
    number: int
    step: Step

    @property
    def asynchronous(self) -> str:
        return "" if self.step.primitive.in_def else "async "

    @property
    def awaited(self) -> str:
        return "" if self.step.primitive.in_def else "await "


class _App:
    """The modules of one application."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._steps = [_Numbered(n, s) for n, s in enumerate(case.composition.steps)]
        self._modules: dict[str, _Module] = {}

    def sources(self) -> dict[str, str]:
        """Return the source of each file."""
        handlers = "inner" if self._case.composition.mounted else "main"
        for step in self._at("middleware", "base-middleware"):
            self._middleware(step)
        for step in self._at("dependency"):
            self._dependency(step)
        if handlers == "inner":
            self._module("inner").add("inner = FastAPI()", "from fastapi import FastAPI")
        self._main()
        self._handler(self._module(handlers), "app" if handlers == "main" else "inner")
        self._module("shared").add(_SHARED, "import asyncio", "from types import SimpleNamespace")
        files = {f"{name}.py": module.text() for name, module in self._modules.items()}
        return {"__init__.py": "", **dict(sorted(files.items()))}

    def _at(self, *places: str) -> list[_Numbered]:
        return [step for step in self._steps if step.step.place in places]

    def _module(self, name: str) -> _Module:
        return self._modules.setdefault(name, _Module(name))

    def _body(self, step: _Numbered, module: _Module) -> str:
        """Return the lines at the step's place: its own, or the call of a helper."""
        if step.step.depth == 0:
            return self._own(step, module)
        self._chain(step, 0)
        module.imports.add("from . import services")
        return f"{step.awaited}services.step_{step.number}()\n"

    def _chain(self, step: _Numbered, level: int) -> None:
        module = self._module(HELPERS[level])
        if level + 1 == step.step.depth:
            body = self._own(step, module)
        else:
            self._chain(step, level + 1)
            module.imports.add(f"from . import {HELPERS[level + 1]}")
            body = f"{step.awaited}{HELPERS[level + 1]}.step_{step.number}()\n"
        module.add(f"{step.asynchronous}def step_{step.number}() -> None:\n" + _indented(body))

    def _own(self, step: _Numbered, module: _Module) -> str:
        primitive = step.step.primitive
        fields = self._fields(step)
        module.imports.update(line.format(**fields) for line in primitive.imports)
        if primitive.constants:
            names = ", ".join(primitive.constants)
            module.imports.add(f"from generated.machine import {names}")
        if primitive.definitions:
            module.add(primitive.definitions.format(**fields))
        if step.step.kind == "process":
            self._module("jobs").add(_JOB.format(**fields), "from generated.machine import LOOP")
        return primitive.body.format(**fields).strip("\n") + "\n"

    def _fields(self, step: _Numbered) -> dict[str, object]:
        number, (_, ms, _, _, width, slices) = step
        guilty = number == self._case.label.culprit
        return {
            "n": number,
            "name": f"{step.step.kind.replace('-', '_')}_{number}",
            "ms": f"{ms:g}",
            "seconds": f"{ms / 1000:g}",
            "width": width,
            "slices": slices,
            "method": self._case.composition.method,
            "mark": f"  # culprit: {self._case.name}" if guilty else "",
        }

    def _middleware(self, step: _Numbered) -> None:
        module = self._module("middleware")
        name = f"Stage{step.number}"
        if step.step.place == "middleware":
            body = _indented(self._body(step, module), 3)
            module.add(
                f"class {name}:\n"
                "    def __init__(self, app: ASGIApp) -> None:\n"
                "        self._app = app\n\n"
                "    async def __call__(\n"
                "        self, scope: Scope, receive: Receive, send: Send\n"
                "    ) -> None:\n"
                f'        if scope["type"] == "http":\n{body}'
                "        await self._app(scope, receive, send)\n",
                "from starlette.types import ASGIApp, Receive, Scope, Send",
            )
            return
        body = _indented(self._body(step, module), 2)
        module.add(
            f"class {name}(BaseHTTPMiddleware):\n"
            "    async def dispatch(self, request: Request, call_next: Any) -> Any:\n"
            f"{body}        return await call_next(request)\n",
            "from typing import Any",
            "from starlette.middleware.base import BaseHTTPMiddleware",
            "from starlette.requests import Request",
        )

    def _dependency(self, step: _Numbered) -> None:
        module = self._module("dependencies")
        body = _indented(self._body(step, module))
        module.add(f"{step.asynchronous}def dependency_{step.number}() -> None:\n{body}")

    def _handler(self, module: _Module, app: str) -> None:
        mine = self._at("handler")
        in_def = any(step.step.primitive.in_def for step in mine)
        parameters = []
        for step in self._at("dependency"):
            name = f"dependency_{step.number}"
            parameters.append(f"{name}: Annotated[None, Depends({name})]")
            module.imports.update(
                ("from typing import Annotated", "from fastapi import Depends",
                 f"from .dependencies import {name}")
            )  # fmt: skip
        if any(step.step.primitive.after for step in mine):
            parameters.append("tasks: BackgroundTasks")
            module.imports.add("from fastapi import BackgroundTasks")
        body = "".join(self._body(step, module) for step in mine)
        answer = 'return {"ok": True}\n'
        if streamed := self._at("stream"):
            rows = "".join(self._body(step, module) for step in streamed)
            module.add(
                'async def rows() -> AsyncIterator[bytes]:\n    yield b"first row\\n"\n'
                f'{_indented(rows)}    yield b"last row\\n"\n',
                "from collections.abc import AsyncIterator",
                "from fastapi.responses import StreamingResponse",
            )
            answer = "return StreamingResponse(rows())\n"
        head = f"{'' if in_def else 'async '}def asked({', '.join(parameters)}):"
        module.add(f'@{app}.get("/asked")\n{head}\n' + _indented(body + answer))

    def _main(self) -> None:
        lines = []
        for step in self._steps:
            primitive = step.step.primitive
            if not primitive.shared:
                continue
            fields = self._fields(step)
            made = primitive.shared.format(**fields)
            made = f"stack.enter_context({made})" if primitive.context else made
            lines.append(f"        shared.{fields['name']} = {made}")
            if step.step.kind == "process":
                # Both workers are there before the first request, and have imported the job.
                lines += [
                    "        loop = asyncio.get_running_loop()",
                    f"        pool = shared.{fields['name']}",
                    "        await asyncio.gather(",
                    "            *(loop.run_in_executor(pool, time.sleep, 0.3) for _ in range(4))",
                    "        )",
                ]
        module = self._module("main")
        module.add(
            "@asynccontextmanager\nasync def lifespan(app: FastAPI) -> AsyncIterator[None]:\n"
            "    with ExitStack() as stack:\n" + "\n".join([*lines, "        yield"]),
            *_LIFESPAN_IMPORTS,
        )
        rest = ["app = FastAPI(lifespan=lifespan)"]
        # The one that is added last comes first.
        for step in reversed(self._at("middleware", "base-middleware")):
            rest.append(f"app.add_middleware(Stage{step.number})")
            module.imports.add(f"from .middleware import Stage{step.number}")
        if self._case.composition.mounted:
            rest.append('app.mount("/inner", inner)')
            module.imports.add("from .inner import inner")
        module.add("\n".join(rest))


def sources(case: Case) -> dict[str, str]:
    """Return the source of each file of the case's application."""
    return _App(case).sources()


def path(case: Case) -> str:
    """Return what is asked of the application."""
    return "/inner/asked" if case.composition.mounted else "/asked"


def culprit_file(case: Case) -> str:
    """Return the name of the file with the marked lines, '' where there are none."""
    for name, text in sources(case).items():
        if "# culprit: " in text:
            return name
    return ""


def lines_of(case: Case, number: int) -> tuple[str, range]:
    """Return the file and the lines of a step that can be a culprit."""
    step = case.composition.steps[number]
    marked = case._replace(label=Label(step.primitive.cause, number))
    body = step.primitive.body.splitlines()
    before = next(n for n, line in enumerate(body) if "{mark}" in line)
    name = culprit_file(marked)
    lines = sources(marked)[name].splitlines()
    first = next(n for n, line in enumerate(lines, 1) if "# culprit: " in line) - before
    return name, range(first, first + len(body))


def _indented(text: str, levels: int = 1) -> str:
    return textwrap.indent(text, "    " * levels)
