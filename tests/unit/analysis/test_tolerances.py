"""Tolerances whose derivation is a simulation."""

import heapq
import random
from collections import deque

import pytest

from pytest_nonblocking.analysis.tolerances import LOCK_IS_BOTTLENECK

HELD = 1.0
CYCLES = 600


def share_of_waits(threads, wanted, randomness):
    """Return the share of their time for which ``threads`` wait for a lock, in a closed system.

    Each holds the lock for a mean of HELD and is elsewhere meanwhile, so that together they want it
    ``wanted`` times as much as it allows. Times are exponential with ``randomness`` 1, constant
    with 0.
    """
    draws = random.Random(threads)  # a simulation

    def time(mean):
        return mean * (1 - randomness) + (draws.expovariate(1 / mean) if mean else 0) * randomness

    elsewhere = threads * HELD / wanted - HELD
    events = [(elsewhere * draws.random(), thread, False) for thread in range(threads)]
    heapq.heapify(events)
    queue, is_free, waited, now = deque(), True, 0.0, 0.0
    while now < CYCLES * threads * HELD / wanted:
        now, thread, releases = heapq.heappop(events)
        if releases:
            heapq.heappush(events, (now + time(elsewhere), thread, False))
            if not queue:
                is_free = True
                continue
            thread, since = queue.popleft()
            waited += now - since
        elif not is_free:
            queue.append((thread, now))
            continue
        is_free = False
        heapq.heappush(events, (now + time(HELD), thread, True))
    return waited / (threads * now)


@pytest.mark.parametrize("threads", [5, 6, 12, 40])
@pytest.mark.parametrize("randomness", [0, 0.5, 1])
def test_threads_wait_for_a_lock_for_as_long_as_it_limits_them(threads, randomness):
    for wanted in (0.5, 0.7, 0.9):
        assert share_of_waits(threads, wanted, randomness) < LOCK_IS_BOTTLENECK
    for wanted in (1.5, 2, 3):
        share = share_of_waits(threads, wanted, randomness)
        assert share == pytest.approx(1 - 1 / wanted, abs=0.06)
        assert share > LOCK_IS_BOTTLENECK
