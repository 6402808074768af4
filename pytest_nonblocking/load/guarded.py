"""One run under the guard, after all runs that are measured: the profile slows it down."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from contextlib import suppress

from ..guard import CallProfile, Rules
from ..model import Guarded, Run
from ..sentinel import LoopClosedError, LoopUnreachableError, Sentinel
from .burst import BodyFailedError
from .faults import describe_fault

Guard = Callable[[], CallProfile]
"""Makes a profile for one thread and one run."""

_HELD = "a callback held the loop in the guard's run"
LATE = "the guard's run did not end before its timeout"


def guard_of(mode: str, rules: Rules) -> Guard | None:
    """Return what makes a profile with ``rules`` for a run, None if the setting guard is off."""
    return None if mode == "off" else functools.partial(CallProfile, rules)


async def guarded_run(
    guard: Guard, run: Callable[[Callable[[], None]], Awaitable[Run]], sentinel: Sentinel
) -> Guarded:
    """Make a run under the guard; what fails in it is no failure of the test.

    ``run`` gets a function to call at its release, before which nothing counts.
    """
    profile = guard()
    try:
        sentinel.loop.call(profile.install)
        made = await run(profile.forget)
    except (LoopUnreachableError, LoopClosedError):
        return Guarded(unmeasured=_HELD)
    except BodyFailedError as failure:
        return Guarded(unmeasured=why_failed(failure))
    except Exception as error:  # the measurement stands without it
        return Guarded(unmeasured=describe_fault(error, "the guard's run"))
    finally:
        end_profile(profile, sentinel)
    return Guarded(unmeasured=LATE) if made.timed_out else profile.guarded(made.requests)


def why_failed(failure: BodyFailedError) -> str:
    """Return why there is no result of a run in which the body failed."""
    error = failure.error
    text = next(iter(str(error).splitlines()), "")
    return f"the test failed in the guard's run ({type(error).__name__}: {text})"


def end_profile(profile: CallProfile, sentinel: Sentinel) -> None:
    """End a profile of the loop's thread, at once if its loop responds."""
    profile.end()
    with suppress(LoopUnreachableError, LoopClosedError):
        sentinel.loop.call(profile.remove)
