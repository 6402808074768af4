"""pytester for all tests of the plugin, and which entries of the tables of faults run."""

import collections
import itertools
import os
import signal
import threading

pytest_plugins = ["pytester"]


def pytest_configure():
    # A run in the background of a shell ignores Ctrl-C, and so would the runs that it starts.
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        and threading.current_thread() is threading.main_thread()
    ):
        signal.signal(signal.SIGINT, signal.default_int_handler)


ALL_FAULTS = bool(os.environ.get("ALL_FAULTS"))


def pytest_report_header():
    return None if ALL_FAULTS else "faults: a part of the tables; `make faults` runs all"


def pytest_collection_modifyitems(config, items):
    """Keep every n-th entry of each table of faults, unless all are asked for (`make faults`)."""
    if ALL_FAULTS:
        return
    numbers = collections.defaultdict(itertools.count)
    left_out = [
        item
        for item in items
        if (mark := item.get_closest_marker("faults"))
        and next(numbers[item.obj]) % mark.kwargs["every"]
    ]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
