"""The same small service in several frameworks.

Each module makes one app: ``make_app(store)`` ties the store to the start-up and the shutdown of
the framework, and serves ``/healthy``, ``/queueing``, ``/blocking`` (whose line is marked) and
``/threaded``, a `def` handler that the framework runs in a worker thread, or ``/unthreaded``, one
that it runs on the loop.
"""
