"""The merged stacks of a measurement, as a tree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..details import DEEPEST_SHOWN
from ..record import Stack


@dataclass(slots=True)
class Frame:
    """A frame, how often it was seen, whether it is the user's, and what it called."""

    name: str
    count: int
    is_users: bool = False
    below: list[Frame] = field(default_factory=list)

    def add(self, frames: Sequence[tuple[str, bool]], count: int) -> None:
        """Merge a stack into the tree."""
        if not frames:
            return
        name, is_users = frames[0]
        child = next((one for one in self.below if one.name == name), None)
        if child is None:
            child = Frame(name, 0, is_users)
            self.below.append(child)
        child.count += count
        child.add(frames[1:], count)
        self.below.sort(key=lambda one: -one.count)


def merged(stacks: Iterable[Stack]) -> list[Frame]:
    """Return the outermost frames, the most common first."""
    root = Frame("", 0)
    for stack in stacks:
        known = [*stack.user, *[False] * len(stack.frames)]
        root.add(list(zip(stack.frames, known, strict=False))[:DEEPEST_SHOWN], stack.count)
    return root.below
