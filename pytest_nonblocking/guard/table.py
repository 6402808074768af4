"""The one table of blocking calls: what each waits for, when it does, and what to await instead.

The guard recognises C functions by it, and every fix line comes from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..model import Category, Culprit, Exemption
from . import conditions as when
from .conditions import Condition


class Instead(NamedTuple):
    """What to await on an asyncio loop, and on trio: None where it has no counterpart."""

    asyncio: str
    trio: str | None = None

    def on(self, loop: str) -> str | None:
        """Return what to await on ``loop``, by the name in ``model.Calibration``."""
        return self.trio if loop == "trio" else self.asyncio


def _everywhere(text: str) -> Instead:
    return Instead(text, text)


_STREAMS = Instead("use asyncio or anyio streams", "use trio or anyio streams")
_HTTP = _everywhere("await an async client (httpx.AsyncClient)")
_SLEEP = Instead("await asyncio.sleep(…)", "await trio.sleep(…)")
_SQLITE = Instead("await aiosqlite")
_POSTGRES = Instead("await an async driver (psycopg 3, asyncpg)")
_MYSQL = Instead("await an async driver (asyncmy, aiomysql)")
_ODBC = Instead("await an async driver (aioodbc)")
_PROCESS = Instead("await asyncio.create_subprocess_exec(…)", "await trio.run_process(…)")
_SHELL = Instead(
    "await asyncio.create_subprocess_shell(…)", "await trio.run_process(…, shell=True)"
)
_SIGNAL = Instead("use loop.add_signal_handler(…)", "use trio.open_signal_receiver(…)")
_FILE = _everywhere("await anyio.open_file(…)")
_FILES = _everywhere("use anyio.Path(…), whose methods are awaited")
_LOCK = Instead(
    "use asyncio.Lock: a threading lock blocks the loop",
    "use trio.Lock: a threading lock blocks the loop",
)
_THREADS = Instead(
    "use asyncio.Lock or asyncio.Event: their threading versions block the loop",
    "use trio.Lock or trio.Event: their threading versions block the loop",
)
_JOIN = Instead(
    "await asyncio.to_thread(…) instead of joining a thread",
    "await trio.to_thread.run_sync(…) instead of joining a thread",
)
_QUEUE = Instead("use asyncio.Queue", "use trio.open_memory_channel(…)")
_FUTURE = Instead(
    "await loop.run_in_executor(…) or asyncio.wrap_future(…) instead of waiting for the future",
    "await trio.to_thread.run_sync(future.result)",
)
_MAP = Instead("await asyncio.gather(…) of loop.run_in_executor(…) instead of Executor.map")
_SHUTDOWN = Instead(
    "await asyncio.to_thread(executor.shutdown)", "await trio.to_thread.run_sync(executor.shutdown)"
)
_LOGGING = _everywhere(
    "log through a logging.handlers.QueueHandler: its QueueListener runs slow handlers in a thread"
)
_NAMES = Instead(
    "await asyncio.get_running_loop().getaddrinfo(…)", "await trio.socket.getaddrinfo(…)"
)
_NAME_OF = Instead(
    "await asyncio.get_running_loop().getnameinfo(…)", "await trio.socket.getnameinfo(…)"
)
_ORACLE = Instead("use oracledb.connect_async")
_BOTO = Instead("await an async client (aioboto3)")
_KAFKA = Instead("await an async client (aiokafka)")
_PSYCOPG = Instead("use psycopg.AsyncConnection")
_GRPC_AIO = Instead("use grpc.aio")
_POOL = Instead("use psycopg_pool.AsyncConnectionPool")

InPython = Literal["", "function", "decorated"]


@dataclass(frozen=True, slots=True)
class Known:
    """Functions of one kind.

    They are the C functions ``names`` of ``owner``, a module or a class, and ``shown`` is what
    users call it. ``in_python`` says that they are Python functions, which wait where no profile
    function sees it; of ``decorated`` ones only the decorator runs. ``package`` is a top-level
    package all of whose calls have the fix ``instead``, or one of its functions; ``spelled`` are
    texts by which a line of code shows the call.
    """

    category: Category
    owner: str
    names: tuple[str, ...]
    instead: Instead | None
    when: Condition = when.always
    shown: str = ""
    package: str = ""
    spelled: tuple[str, ...] = ()
    in_python: InPython = ""

    def public(self, name: str) -> str:
        """Return the public name of a function."""
        is_private = name.startswith("_") and not name.startswith("__")
        return f"{self.shown or self.owner}.{name.removeprefix('_') if is_private else name}"


def _library(package: str, category: Category, instead: Instead | None, *spelled: str) -> Known:
    """Return a library in Python, or a function: its calls end in C functions of other rows."""
    return Known(category, "", (), instead, package=package, spelled=spelled)


_CURSOR = ("execute", "executemany", "fetchone", "fetchmany", "fetchall")
_TWO_PHASES = ("tpc_begin", "tpc_commit", "tpc_prepare", "tpc_recover", "tpc_rollback")
_MYSQLDB = (
    "autocommit", "change_user", "commit", "dump_debug_info", "kill", "next_result", "ping",
    "query", "read_query_result", "rollback", "select_db", "set_character_set",
    "set_server_option", "shutdown", "stat", "store_result",
)  # fmt: skip
_MYSQL_CONNECTOR = (
    "autocommit", "change_user", "commit", "connect", "consume_result", "fetch_row", "next_result",
    "ping", "query", "refresh", "reset_connection", "rollback", "select_db", "set_character_set",
    "shutdown", "stat", "stmt_prepare",
)  # fmt: skip
_ODBC_CURSOR = (
    *_CURSOR, "columns", "commit", "fetchval", "foreignKeys", "getTypeInfo", "nextset",
    "primaryKeys", "procedureColumns", "procedures", "rollback", "rowIdColumns", "rowVerColumns",
    "skip", "statistics", "tablePrivileges", "tables",
)  # fmt: skip
_ORACLE_CURSOR = (*_CURSOR, "callfunc", "callproc", "parse")
_ORACLE_CONNECTION = ("begin", "changepassword", "commit", "ping", "rollback")
_GRPC = {
    "UnaryUnaryMultiCallable": ("__call__", "with_call"),
    "StreamUnaryMultiCallable": ("__call__", "with_call"),
    "SingleThreadedRendezvous": ("_next",),
}
_RAW = ("read", "readall", "readinto", "truncate", "write")
_READER = ("peek", "read", "read1", "readinto", "readinto1", "readline", "readlines")
_WRITER = ("flush", "truncate", "write", "writelines")
_TEXT = ("flush", "read", "readline", "readlines", "truncate", "write", "writelines")
_OF_STREAMS = {
    "FileIO": _RAW,
    "BufferedReader": _READER,
    "BufferedWriter": _WRITER,
    "BufferedRandom": (*_READER, *_WRITER),
    "TextIOWrapper": _TEXT,
}
_ON_PATHS = (
    "access", "chmod", "chown", "copy_file_range", "fdatasync", "fsync", "ftruncate", "link",
    "listdir", "lstat", "mkdir", "open", "readlink", "remove", "rename", "replace", "rmdir",
    "scandir", "sendfile", "stat", "statvfs", "symlink", "truncate", "unlink", "utime",
)  # fmt: skip

TABLE: tuple[Known, ...] = (
    # Sleeping
    Known(
        "sleep",
        "time",
        ("sleep",),
        _SLEEP,
        when.unless_zero(0, "seconds"),
        package="time",
        spelled=("time.sleep",),
    ),
    # Databases
    Known(
        "database",
        "sqlite3.Connection",
        ("backup", "commit", "execute", "executemany", "executescript", "rollback"),
        _SQLITE,
        package="sqlite3",
        spelled=("sqlite3.",),
    ),
    Known("database", "sqlite3.Cursor", (*_CURSOR, "executescript"), _SQLITE),
    Known("database", "sqlite3.Blob", ("read", "write"), _SQLITE),
    Known("database", "_sqlite3", ("connect",), _SQLITE, shown="sqlite3"),
    Known(
        "database",
        "psycopg2.extensions.cursor",
        ("callproc", "copy_expert", "copy_from", "copy_to", "execute", "executemany"),
        _POSTGRES,
        when.driver_waits,
        package="psycopg2",
    ),
    Known(
        "database",
        "psycopg2.extensions.cursor",
        ("fetchall", "fetchmany", "fetchone", "scroll"),
        _POSTGRES,
        when.rows_are_at_server,
    ),
    Known(
        "database",
        "psycopg2.extensions.connection",
        ("cancel", "commit", "lobject", "reset", "rollback", "set_client_encoding", *_TWO_PHASES),
        _POSTGRES,
        when.driver_waits,
    ),
    Known(
        "database",
        "psycopg2.extensions.lobject",
        ("close", "export", "read", "seek", "tell", "truncate", "unlink", "write"),
        _POSTGRES,
    ),
    Known(
        "database",
        "psycopg2._psycopg",
        ("_connect",),
        _POSTGRES,
        when.driver_connects,
        shown="psycopg2",
    ),
    # It waits in Cython, or in a selector.
    Known(
        "database",
        "psycopg.Connection",
        ("wait",),
        _PSYCOPG,
        package="psycopg",
        in_python="function",
    ),
    Known(
        "database",
        "_mysql.connection",
        _MYSQLDB,
        _MYSQL,
        shown="MySQLdb.Connection",
        package="MySQLdb",
    ),
    Known("database", "_mysql.result", ("fetch_row",), _MYSQL, shown="MySQLdb.Result"),
    Known(
        "database",
        "_mysql_connector.MySQL",
        _MYSQL_CONNECTOR,
        _MYSQL,
        shown="mysql.connector",
        package="mysql",
    ),
    Known("database", "pyodbc", ("connect",), _ODBC, package="pyodbc"),
    Known(
        "database",
        "pyodbc.Cursor",
        _ODBC_CURSOR,
        _ODBC,
    ),
    Known("database", "pyodbc.Connection", ("commit", "execute", "rollback"), _ODBC),
    Known("database", "cx_Oracle.Cursor", _ORACLE_CURSOR, _ORACLE, package="cx_Oracle"),
    Known("database", "cx_Oracle.Connection", _ORACLE_CONNECTION, _ORACLE),
    Known("database", "cx_Oracle.SessionPool", ("acquire",), _ORACLE),
    # Cython, below an API in Python.
    Known(
        "database",
        "oracledb.Cursor",
        _ORACLE_CURSOR,
        _ORACLE,
        package="oracledb",
        in_python="decorated",
    ),
    Known(
        "database",
        "oracledb.Connection",
        ("__init__", *_ORACLE_CONNECTION),
        _ORACLE,
        in_python="decorated",
    ),
    Known("database", "oracledb.ConnectionPool", ("acquire",), _ORACLE, in_python="decorated"),
    _library(
        "sqlalchemy", "database", Instead("use SQLAlchemy's create_async_engine and AsyncSession")
    ),
    _library("pg8000", "database", _POSTGRES),
    _library("psycopg_pool", "database", _POOL),
    _library("pymysql", "database", _MYSQL),
    _library("pymongo", "database", Instead("use pymongo.AsyncMongoClient")),
    _library("redis", "database", Instead("use redis.asyncio")),
    # HTTP and other clients
    _library("requests", "network", _HTTP),
    _library("urllib", "network", _HTTP),
    _library("urllib3", "network", _HTTP),
    _library("http", "network", _HTTP),
    _library("httpx", "network", _everywhere("await httpx.AsyncClient instead of httpx.Client")),
    _library("botocore", "network", _BOTO),
    _library("boto3", "network", _BOTO),
    _library("smtplib", "network", Instead("await an async client (aiosmtplib)")),
    Known(
        "network",
        "pycurl.Curl",
        ("perform",),
        _HTTP,
        package="pycurl",
    ),
    Known("network", "pycurl.CurlMulti", ("select",), _HTTP, when.unless_zero(0, "timeout")),
    Known(
        "network",
        "cimpl.Producer",
        ("flush", "poll"),
        _KAFKA,
        when.unless_zero(0, "timeout", -1),
        shown="confluent_kafka.Producer",
        package="confluent_kafka",
    ),
    Known(
        "network",
        "cimpl.Consumer",
        ("poll",),
        _KAFKA,
        when.unless_zero(0, "timeout", -1),
        shown="confluent_kafka.Consumer",
    ),
    Known(
        "network",
        "cimpl.Consumer",
        ("consume",),
        _KAFKA,
        when.unless_zero(1, "timeout", -1),
        shown="confluent_kafka.Consumer",
    ),
    # Cython, below an API in Python.
    *(
        Known(
            "network",
            f"grpc._channel._{name}",
            calls,
            _GRPC_AIO,
            shown=f"grpc.{name}",
            in_python="function",
        )
        for name, calls in _GRPC.items()
    ),
    _library("grpc", "network", _GRPC_AIO),
    # Sockets
    Known(
        "network",
        "_socket.socket",
        ("_accept", "recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into"),
        _STREAMS,
        when.waits_for_peer,
        shown="socket",
        package="socket",
    ),
    Known(
        "network",
        "_socket.socket",
        ("connect", "connect_ex", "send", "sendall", "sendmsg", "sendto"),
        _STREAMS,
        when.waits_for_peer_to_take,
        shown="socket",
    ),
    Known(
        "network",
        "_ssl._SSLSocket",
        ("do_handshake", "read", "shutdown", "write"),
        _STREAMS,
        when.tls_waits_for_peer,
        shown="ssl.SSLSocket",
        package="ssl",
    ),
    Known("network", "select", ("select",), _STREAMS, when.unless_zero(3, "timeout")),
    Known("network", "select.poll", ("poll",), _STREAMS, when.unless_zero(0, "timeout")),
    Known("network", "select.epoll", ("poll",), _STREAMS, when.unless_zero(0, "timeout", -1)),
    Known("network", "select.devpoll", ("poll",), _STREAMS, when.unless_zero(0, "timeout")),
    Known("network", "select.kqueue", ("control",), _STREAMS, when.unless_zero(2, "timeout")),
    Known(
        "dns",
        "_socket",
        ("getaddrinfo", "gethostbyname", "gethostbyname_ex"),
        _NAMES,
        when.host_is_a_name,
        shown="socket",
    ),
    Known("dns", "_socket", ("gethostbyaddr",), _NAME_OF, shown="socket"),
    Known("dns", "_socket", ("getnameinfo",), _NAME_OF, when.name_is_looked_up, shown="socket"),
    _library("socket.getfqdn", "dns", _NAME_OF),
    # Processes
    Known(
        "process",
        "_posixsubprocess",
        ("fork_exec",),
        _PROCESS,
        shown="subprocess",
        package="subprocess",
    ),
    Known(
        "process", "_winapi", ("CreateProcess", "WaitForSingleObject"), _PROCESS, shown="subprocess"
    ),
    Known(
        "process",
        "posix",
        ("system",),
        _SHELL,
        shown="os",
        spelled=("os.system",),
    ),
    Known(
        "process",
        "posix",
        ("fork", "forkpty", "posix_spawn", "posix_spawnp", "wait"),
        _PROCESS,
        shown="os",
    ),
    Known("process", "posix", ("wait3",), _PROCESS, when.waits_for_child(0), shown="os"),
    Known("process", "posix", ("wait4", "waitpid"), _PROCESS, when.waits_for_child(1), shown="os"),
    Known("process", "posix", ("waitid",), _PROCESS, when.waits_for_child(2), shown="os"),
    Known("process", "_signal", ("pause", "sigwait", "sigwaitinfo"), _SIGNAL, shown="signal"),
    Known(
        "process",
        "_signal",
        ("sigtimedwait",),
        _SIGNAL,
        when.unless_zero(1, "timeout"),
        shown="signal",
    ),
    Known("process", "builtins", ("input",), None),
    Known(
        "process",
        "posix",
        ("read", "readv", "write", "writev"),
        _STREAMS,
        when.descriptor_is_pipe,
        shown="os",
    ),
    *(
        Known("process", f"_io.{name}", calls, _PROCESS, when.is_on_pipe, shown=name)
        for name, calls in _OF_STREAMS.items()
    ),
    # Files
    Known("file", "io", ("open", "open_code"), _FILE, spelled=("open(",)),
    Known("file", "_io", ("open", "open_code"), _FILE, shown="io"),
    *(
        _library(
            f"pathlib.{name}", "file", _everywhere(f"await anyio.Path(…).{name}()"), f".{name}("
        )
        for name in ("read_text", "read_bytes")
    ),
    *(
        Known("file", f"_io.{name}", calls, _FILE, when.is_on_file, shown=name)
        for name, calls in _OF_STREAMS.items()
    ),
    Known(
        "file",
        "posix",
        ("pread", "preadv", "pwrite", "pwritev", "read", "readv", "write", "writev"),
        _FILE,
        when.descriptor_is_file,
        shown="os",
    ),
    Known("file", "posix", _ON_PATHS, _FILES, shown="os"),
    Known("file", "posix", ("sync",), None, shown="os"),
    # Locks, queues, threads
    Known(
        "lock",
        "_thread.lock",
        ("__enter__", "acquire", "acquire_lock"),
        _LOCK,
        when.lock_is_held,
        shown="threading.Lock",
        spelled=(".acquire(",),
    ),
    Known(
        "lock",
        "_thread.RLock",
        ("__enter__", "acquire"),
        _LOCK,
        when.lock_is_anothers,
        shown="threading.RLock",
    ),
    Known(
        "lock",
        "_thread._ThreadHandle",
        ("join",),
        _JOIN,
        when.thread_runs,
        shown="threading.Thread",
    ),
    Known(
        "lock",
        "_queue.SimpleQueue",
        ("get",),
        _QUEUE,
        when.queue_is_empty,
        shown="queue.SimpleQueue",
        package="queue",
    ),
    Known(
        "lock",
        "_multiprocessing.SemLock",
        ("__enter__", "acquire"),
        _THREADS,
        when.semaphore_is_zero,
        shown="multiprocessing.Semaphore",
    ),
    Known("lock", "fcntl", ("flock", "lockf"), None, when.file_lock_waits),
    Known("lock", "posix", ("lockf",), None, when.section_lock_waits, shown="os"),
    _library("logging", "network", _LOGGING),
    _library("concurrent", "lock", _FUTURE),
    _library("concurrent.result_iterator", "lock", _MAP),
    _library("concurrent.shutdown", "lock", _SHUTDOWN),
    _library("concurrent.__exit__", "lock", _SHUTDOWN),
    _library("threading", "lock", _THREADS),
    _library("threading.join", "lock", _JOIN),
    _library("multiprocessing", "lock", None),
    _library("multiprocessing.__enter__", "lock", _THREADS),
    _library("asyncio", "lock", _everywhere("await the future instead of waiting for its result")),
)

_WITH_LOCK = Known("lock", "", (), _LOCK)

RUNTIMES: tuple[Exemption, ...] = (
    *map(Exemption, ("asyncio", "uvloop", "trio", "anyio", "sniffio")),
    # Waits until the new thread runs, or until a worker has taken the work.
    Exemption("threading", frozenset(("start",))),
    Exemption("concurrent.futures.thread", frozenset(("submit",))),
    Exemption("concurrent.futures.process", frozenset(("submit",))),
    # Reads source lines for a message, and writes one line of a log.
    *(Exemption(name, categories=frozenset(("file",))) for name in ("linecache", "traceback")),
    Exemption("logging", categories=frozenset(("file", "lock"))),
    # Its queue to the thread that writes is a pipe.
    Exemption("loguru", categories=frozenset(("file", "lock", "process"))),
)
"""Code that may make such calls on the loop's thread: they are its own affair, or take no time."""


DATABASES = frozenset(row.package for row in TABLE if row.package and row.category == "database")
"""Packages that are clients of databases."""


def counterpart(culprit: Culprit, loop: str = "asyncio") -> str | None:
    """Return what to await in place of the blocking call, None where no counterpart is known."""
    calls = (*culprit.calls, *filter(None, [culprit.blocks_in]))
    return instead_of(calls, culprit.code, loop=loop)


def instead_of(
    calls: Iterable[str], code: str = "", category: Category | None = None, loop: str = "asyncio"
) -> str | None:
    """Return what to await on ``loop`` in place of ``calls``, the outermost first.

    ``code`` is the line that makes them. ``category`` is that of the last call, if it is known:
    `os.read` reads files and pipes.
    """
    found = _row_of(calls, code, category)
    return None if found is None or found.instead is None else found.instead.on(loop)


def _row_of(calls: Iterable[str], code: str, category: Category | None) -> Known | None:
    calls = tuple(calls)
    if calls[:1] == ("concurrent.result",) and "run_coroutine_threadsafe(" in code:
        calls = ("asyncio.result", *calls)  # which returns a future of concurrent.futures
    for call in calls:
        for row in TABLE:
            is_same = category in (None, row.category)
            if is_same and any(row.public(name) == call for name in row.names):
                return row
        package = call.partition(".")[0].partition(" ")[0]
        of_package = {row.package: row for row in TABLE if row.package in (call, package)}
        if of_package:
            return of_package.get(call) or of_package[package]
    spelled = (row for row in TABLE for text in row.spelled if text in code)
    return next(spelled, _WITH_LOCK if _takes_a_lock(calls, code) else None)


def _takes_a_lock(calls: Sequence[str], code: str) -> bool:
    """Return whether ``code`` enters a context manager in C: of those, only locks wait."""
    return not calls and code.startswith("with ")
