"""Which tasks a task waits for, on asyncio and trio."""

import asyncio
import sys

import anyio
import pytest
import trio
import trio.testing

from pytest_nonblocking.sentinel.awaited import (
    awaited_on_asyncio,
    awaited_on_trio,
    followed,
)
from pytest_nonblocking.sentinel.stacks import suspended_frames


async def direct(child):
    await child


async def gather(child):
    await asyncio.gather(child, asyncio.sleep(0))


async def wait(child):
    await asyncio.wait([child])


async def wait_for(child):
    await asyncio.wait_for(child, 60)


async def shield(child):
    await asyncio.shield(child)


async def shield_in_time(child):
    await asyncio.wait_for(asyncio.shield(child), 60)


async def anyio_group(child):
    async with anyio.create_task_group() as group:
        group.start_soon(direct, child)


async def asyncio_group(child):
    async with asyncio.TaskGroup() as group:
        group.create_task(direct(child))


WAYS = [direct, gather, wait, wait_for, shield, shield_in_time, anyio_group]
if sys.version_info >= (3, 11):
    WAYS.append(asyncio_group)


def ends(parent):
    """Return the innermost functions at the ends of the chains that start with ``parent``."""
    walks = {task: tuple(suspended_frames(task.get_coro())) for task in asyncio.all_tasks()}
    awaited = {task: awaited_on_asyncio(task, walk) for task, walk in walks.items()}
    chains = followed(walks, awaited)
    outermost = parent.get_coro().cr_frame
    return [c.walk[-1].f_code.co_name for c in chains if c.walk and c.walk[0] is outermost]


async def queue_for(future):
    await future


@pytest.mark.asyncio
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_a_wait_for_a_child_task_is_followed_to_what_the_child_waits_for(way):
    future = asyncio.get_running_loop().create_future()
    parent = asyncio.ensure_future(way(asyncio.ensure_future(queue_for(future))))
    for _ in range(3):
        await asyncio.sleep(0)
    assert ends(parent) == ["queue_for"]
    future.set_result(None)
    await parent


@pytest.mark.asyncio
@pytest.mark.parametrize("way", [direct, wait, wait_for, shield], ids=lambda way: way.__name__)
async def test_a_wait_for_a_future_stays_where_it_is(way):
    future = asyncio.get_running_loop().create_future()
    parent = asyncio.ensure_future(way(future))
    for _ in range(2):
        await asyncio.sleep(0)
    assert ends(parent) in ([way.__name__], ["wait_for"], ["_wait"])
    future.set_result(None)
    await parent


@pytest.mark.asyncio
async def test_a_wait_for_a_future_beside_a_task_is_both():
    loop = asyncio.get_running_loop()
    futures = loop.create_future(), loop.create_future()
    tasks = futures[0], loop.create_task(queue_for(futures[1]))

    async def gather_all():
        await asyncio.gather(*tasks)

    parent = asyncio.ensure_future(gather_all())
    for _ in range(2):
        await asyncio.sleep(0)
    assert sorted(ends(parent)) == ["gather_all", "queue_for"]
    for future in futures:
        future.set_result(None)
    await parent


@pytest.mark.asyncio
async def test_a_task_that_several_await_comes_once_for_each_of_them():
    future = asyncio.get_running_loop().create_future()
    child = asyncio.ensure_future(queue_for(future))
    parents = [asyncio.ensure_future(direct(child)) for _ in range(3)]
    await asyncio.sleep(0)
    assert [ends(parent) for parent in parents] == [["queue_for"]] * 3
    future.set_result(None)
    await asyncio.gather(*parents)


def test_a_nursery_of_trio_is_followed_to_its_children():
    seen = []

    async def queue():
        await trio.sleep_forever()

    async def parent():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(queue)
            nursery.start_soon(queue)

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(parent)
            await trio.testing.wait_all_tasks_blocked()
            (task,) = nursery.child_tasks
            seen.extend(awaited_on_trio(tuple(suspended_frames(task.coro))))
            (queues,) = task.child_nurseries
            assert set(seen) == set(queues.child_tasks)
            assert not awaited_on_trio(tuple(suspended_frames(seen[0].coro)))
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert len(seen) == 2


def names(awaited):
    walks = {task: (task,) for task in awaited}
    return ["".join(chain.walk) for chain in followed(walks, awaited)]


def test_chains_are_followed_to_their_ends():
    assert names({"a": ["b"], "b": ["c"], "c": [], "d": []}) == ["d", "abc"]


def test_tasks_that_await_one_another_come_singly():
    assert names({"a": ["b"], "b": ["a"], "c": []}) == ["c", "a", "b"]


def test_a_task_that_awaits_such_tasks_ends_nothing():
    assert names({"r": ["a"], "a": ["b"], "b": ["a"]})


def test_countless_paths_are_followed_for_a_bounded_number_of_steps():
    depth = 40
    awaited = {(n, side): [(n + 1, 0), (n + 1, 1)] for n in range(depth) for side in (0, 1)}
    awaited |= {(depth, 0): [], (depth, 1): []}
    walks = {task: (task,) for task in awaited}
    assert len(list(followed(walks, awaited))) < 10 * len(awaited)
