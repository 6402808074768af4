"""What the pytest runs that tests start have in common."""

LEFT_OUT = (
    "-p no:randomly -p no:faker -p no:hypothesispytest -p no:schemathesis -p no:locust "
    "-p no:time_machine -p no:platformdirs -p no:rerunfailures"
)
"""Plugins that are loaded only because they are installed here: the first shuffles, to import the
others takes three times as long as to import all else, and each run leaves a thread of the last."""

IMPATIENT = """
from pytest_nonblocking import runner, tasks
from pytest_nonblocking.asgi import client, server_thread
from pytest_nonblocking.load import burst, sync_clients, sync_tests
from pytest_nonblocking.sentinel import measured_loop

tasks.GRACE = 1.0
burst.PATIENCE = client.PATIENCE = 0.3
runner._TEARDOWN_WITHIN = 0.5
server_thread._FREE_WITHIN, server_thread._BREAKS = 0.4, 15
measured_loop._ANSWER_WITHIN_NS = 500_000_000
sync_clients._ENDS_WITHIN_NS, sync_clients._SUSPENDED_NS = 300_000_000, 700_000_000
sync_clients._GIVEN_UP_NS = 1_500_000_000
sync_tests._GRACE = 0.4
"""
"""For a conftest: what is given up is given up soon."""
