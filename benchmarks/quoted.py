"""Write the figures that the docs quote, from the pages that the benchmarks wrote.

    python benchmarks/quoted.py

`make truth`, `make simulate` and `make peers` run it after they have written their page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pytest_nonblocking.model import CATEGORIES

_ROOT = Path(__file__).resolve().parent.parent
_NUMBER = r"\d+(?:\.\d+)*"

Read = Callable[[str], str]
"""Returns the text of a page, by its path in the repository."""


class Quote(NamedTuple):
    """A sentence of a page, with {} for each figure, and where the figures come from."""

    page: str
    sentence: str
    figures: Callable[[Read], list[str]]


def cells(page: str, row: str, *columns: str) -> list[list[str]]:
    """Return the numbers in cells of the table that has these columns."""
    for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        head, _, *rows = ([cell.strip() for cell in line.split("|")] for line in table.splitlines())
        for found in rows:
            if set(columns) <= set(head) and found[1].partition(": ")[0] == row.partition(": ")[0]:
                return [re.findall(_NUMBER, found[head.index(column)]) for column in columns]
    raise LookupError(f"no row {row!r} with {columns}")


def _cost(handler: str) -> Quote:
    def figures(read: Read) -> list[str]:
        found = cells(read("docs/operating-curve.md"), handler, "quiet, R1", "busy, R1")
        return [numbers[0] for numbers in found]

    return Quote("docs/explanation/cost.md", f"| {handler} | {{}} | {{}} |", figures)


def _laboratory(read: Read) -> list[str]:
    columns = ("healthy, R1", "faulty, R1")
    return [numbers[0] for numbers in cells(read("docs/truth.md"), "all", *columns)]


def _beside_workers(read: Read) -> list[str]:
    page = read("docs/truth.md")
    *wrong, undecided = cells(page, "xdist", "wrong fail", "wrong pass", "inconclusive")
    ((crowded, *_),) = cells(page, "xdist", "faulty, R1")
    ((quiet, *_),) = cells(page, "quiet", "faulty, R1")
    return [str(sum(int(first) for first, *_ in wrong)), undecided[-1], crowded, quiet]


def _wrong(handlers: str, verdict: str) -> Callable[[Read], list[str]]:
    return lambda read: [
        numbers[0] for numbers in cells(read("docs/truth.md"), "all", handlers, verdict)
    ]


def _of_all(column: str) -> Callable[[Read], list[str]]:
    return lambda read: cells(read("docs/truth.md"), "all", column)[0]


def _only(column: str) -> Callable[[Read], list[str]]:
    return lambda read: _of_all(column)(read)[:1]


def _undecided(read: Read) -> list[str]:
    page, columns = read("docs/truth.md"), ("healthy", "inconclusive")
    ((blind, *_),) = cells(page, "fallback-busy", "inconclusive")
    (healthy, *_), (undecided, *_) = cells(page, "all", *columns)
    return [blind, undecided, healthy, f"{300 / int(healthy):.1f}"]


def _without_schedstat(read: Read) -> list[str]:
    page = read("docs/truth.md")
    found = [cells(page, row, "inconclusive") for row in ("fallback-busy", "busy")]
    return [(numbers[1] if numbers[1:] else "0") for (numbers,) in found]


def _guarded(read: Read) -> list[str]:
    page, guard = read("docs/peers.md"), "pytest-nonblocking's guard"
    corpus = page.partition("### The corpus")[2].partition("### Generated")[0]
    found = [cells(corpus, name, guard)[0] for name in CATEGORIES]
    places = sum(int(hits) + int(missed) for hits, missed, _ in found)
    (reported, others), *_ = cells(corpus, "handlers without such a call that are reported", guard)
    return [str(places), str(sum(int(hits) for hits, *_ in found)), others, reported]


def _alone(read: Read) -> list[str]:
    columns = ("healthy, R1", "faulty, R1")
    return [numbers[0] for numbers in cells(read("docs/truth.md"), "quiet", *columns)]


def _peers(read: Read) -> list[str]:
    page, under_load = read("docs/peers.md"), ("GIL", "threads", "queues")
    names = re.findall(r"^\| (.+?) \| \d+/", page, re.MULTILINE)
    ours, *others = ([*cells(page, name, *under_load)] for name in names)
    (cost,) = cells(page, names[0], "cost")
    all_kinds = cells(page, names[0], "blocking", "CPU", *under_load)
    return [
        cost[0],
        str(sum(int(of) for _, of in ours)),
        str(sum(int(of) for _, of in all_kinds)),
        str(sum(int(found) for other in others for found, _ in other)),
    ]


def _corpus(read: Read) -> list[str]:
    page = read("docs/peers.md")
    found = re.search(rf"({_NUMBER}) faulty and ({_NUMBER}) healthy", page)
    assert found
    return [*found.groups()]


def _version(tool: str) -> Callable[[Read], list[str]]:
    return lambda read: cells(read("docs/peers.md"), tool, "version")[0]


def _finds(read: Read) -> list[str]:
    return cells(read("docs/peers.md"), "blockbuster", "blocking")[0]


QUOTES = (
    _cost("healthy: awaits 20 ms"),
    _cost("blocks for 20 ms"),
    _cost("computes for 20 ms"),
    _cost("a lock held for 20 ms"),
    _cost("20 ms of Python in a thread"),
    _cost("20 ms without the GIL in a thread"),
    Quote(
        "docs/explanation/cost.md",
        "where real handlers run, the median over all conditions is {} for healthy handlers and {} "
        "for faulty ones",
        _laboratory,
    ),
    Quote(
        "docs/explanation/noise.md",
        "| wrong fails | {} healthy | {} |",
        _wrong("healthy", "wrong fail"),
    ),
    Quote(
        "docs/explanation/noise.md",
        "| wrong passes | {} faulty | {} |",
        _wrong("faulty", "wrong pass"),
    ),
    Quote(
        "docs/explanation/noise.md", "| inconclusive | all | {} ({} %) |", _of_all("inconclusive")
    ),
    Quote(
        "docs/explanation/noise.md",
        "The condition without the kernel's statistics, beside four busy processes, has {} of the "
        "{} inconclusive ones. No error in {} is not a rate of 0: it excludes, at 95 % confidence, "
        "rates above {} % for handlers like these",
        _undecided,
    ),
    *(
        Quote("docs/explanation/noise.md", f"| {column} | {of} | {{}} |", _only(column))
        for column, of in (("wrong cause", "fails"), ("wrong line", "fails with a line"))
    ),
    Quote(
        "docs/reference/platforms.md",
        "[the laboratory](../truth.md) {} % beside four busy processes on two cores, against {} % "
        "with `schedstat`",
        _without_schedstat,
    ),
    Quote(
        "docs/explanation/guard.md",
        "Of {} handlers with blocking calls it finds {}, each at its line, and misses the one that "
        "blocks in every fourth request only. Of the {} others it accuses {}, which reads a small "
        "file",
        _guarded,
    ),
    Quote(
        "docs/how-to/xdist.md",
        "gave {} wrong verdicts and {} % inconclusive ones. A faulty handler took {} times its "
        "latency, beside {} on a quiet machine: disturbed bursts are repeated.",
        _beside_workers,
    ),
    Quote(
        "docs/faq.md",
        "took {} times its latency if it was healthy, and {} times if it was faulty",
        _alone,
    ),
    Quote(
        "docs/explanation/comparison.md",
        "costs {} times the bare request at the median. What only shows under concurrency, which "
        "is GIL contention, thread pools and queues, is {} of the {} faults; of these, the other "
        "tools found {}.",
        _peers,
    ),
    Quote(
        "docs/explanation/comparison.md",
        "[{} faulty and {} healthy handlers](../peers.md)",
        _corpus,
    ),
    Quote("docs/explanation/comparison.md", "found {} of {} blocking handlers", _finds),
    *(
        Quote("docs/explanation/comparison.md", f"| {tool} {{}} |", _version(tool))
        for tool in ("blockbuster", "aiocop", "pyleak", "fastapi-loopguard")
    ),
)


def filled(text: str, sentence: str, figures: list[str]) -> str:
    """Return ``text`` with ``figures`` in the one place where it has the sentence."""
    words = r"\s+".join(map(re.escape, sentence.split()))
    found = [*re.finditer(words.replace(r"\{\}", f"({_NUMBER})"), text)]
    if len(found) != 1:
        raise LookupError(f"{len(found)} times in the page: {sentence}")
    (match,) = found
    for group, figure in reversed([*enumerate(figures, 1)]):
        text = f"{text[: match.start(group)]}{figure}{text[match.end(group) :]}"
    return text


def pages(read: Read) -> Iterator[tuple[str, str]]:
    """Yield each page that quotes figures, and its text with them."""
    for name in dict.fromkeys(quote.page for quote in QUOTES):
        text = read(name)
        for quote in QUOTES:
            if quote.page == name:
                text = filled(text, quote.sentence, quote.figures(read))
        yield name, text


def read(name: str) -> str:
    """Return the text of a page of the repository."""
    return (_ROOT / name).read_text("utf-8")


if __name__ == "__main__":
    for page, text in pages(read):
        (_ROOT / page).write_text(text, "utf-8")
