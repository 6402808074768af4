"""What was measured is freed with its test: only its record stays until the session ends."""

COUNTS = """
import gc, sys
import pytest

@pytest.hookimpl(trylast=True)
def pytest_sessionfinish():
    from pytest_nonblocking import model

    # Where pytest keeps the traceback of the last failure for a debugger.
    for name in ("last_exc", "last_value", "last_traceback", "last_type"):
        vars(sys).pop(name, None)
    gc.collect()
    kinds = model.Outcome, model.Run, model.Step, model.Sample, model.Waiters
    left = [type(one).__name__ for one in gc.get_objects() if type(one) in kinds]
    print("LEFT", left or "nothing")
"""


def test_no_outcome_outlives_its_test(pytester):
    pytester.makeconftest(COUNTS)
    pytester.makepyfile(
        """
        import asyncio, time, pytest

        async def block():
            time.sleep(0.05)

        async def broken():
            raise ValueError

        async def passes():
            await asyncio.sleep(0)

        @pytest.mark.nonblocking(concurrency=4)
        @pytest.mark.parametrize("body", [passes, block, broken] * 3)
        async def test_it(body):
            await body()
        """
    )
    result = pytester.runpytest_subprocess("-s", timeout=120)
    assert result.parseoutcomes()["failed"] == 6
    result.stdout.fnmatch_lines(["*LEFT nothing"])
