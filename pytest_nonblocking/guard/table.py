"""The one table of blocking calls: what each waits for, when it does, and what to await instead.

The guard recognises C functions by it, and every fix line comes from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ..model import Category, Culprit, Exemption
from . import conditions as when
from .conditions import Condition

_STREAMS = "use asyncio or anyio streams"
_HTTP = "await an async client (httpx.AsyncClient)"
_MYSQL = "await an async driver (asyncmy, aiomysql)"
_PROCESS = "await asyncio.create_subprocess_exec(…)"
_FILE = "await anyio.open_file(…)"
_FILES = "use anyio.Path(…), whose methods are awaited"
_KAFKA = "await an async client (aiokafka)"
_LOCK = "use asyncio.Lock: a threading lock blocks the loop"
_THREADS = "use asyncio.Lock or asyncio.Event: their threading versions block the loop"
_FUTURE = "await asyncio.wrap_future(…) instead of calling result()"
_ODBC = "await an async driver (aioodbc)"
_ORACLE = "use oracledb.connect_async"
_POSTGRES = "await an async driver (psycopg 3, asyncpg)"
_PSYCOPG = "use psycopg.AsyncConnection"


InPython = Literal["", "function", "decorated"]


@dataclass(frozen=True, slots=True)
class Known:
    """Functions of one kind.

    They are the C functions ``names`` of ``owner``, a module or a class, and ``shown`` is what
    users call it. ``in_python`` says that they are Python functions, which wait where no profile
    function sees it; of ``decorated`` ones only the decorator runs. ``package`` is a top-level
    package all of whose calls have the fix ``instead``; ``spelled`` are texts by which a line of
    code shows the call.
    """

    category: Category
    owner: str
    names: tuple[str, ...]
    instead: str | None
    when: Condition = when.always
    shown: str = ""
    package: str = ""
    spelled: tuple[str, ...] = ()
    in_python: InPython = ""

    def public(self, name: str) -> str:
        """Return the public name of a function."""
        is_private = name.startswith("_") and not name.startswith("__")
        return f"{self.shown or self.owner}.{name.removeprefix('_') if is_private else name}"


def _library(package: str, category: Category, instead: str) -> Known:
    """Return a library in Python: its calls end in C functions of other rows."""
    return Known(category, "", (), instead, package=package)


def _spelled(category: Category, text: str, instead: str) -> Known:
    """Return what a line of code shows, in Python: its calls end in C functions of other rows."""
    return Known(category, "", (), instead, spelled=(text,))


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
        "await asyncio.sleep(…)",
        when.unless_zero(0, "seconds"),
        package="time",
        spelled=("time.sleep",),
    ),
    # Databases
    Known(
        "database",
        "sqlite3.Connection",
        ("backup", "commit", "execute", "executemany", "executescript", "rollback"),
        "await aiosqlite",
        package="sqlite3",
        spelled=("sqlite3.",),
    ),
    Known("database", "sqlite3.Cursor", (*_CURSOR, "executescript"), "await aiosqlite"),
    Known("database", "_sqlite3", ("connect",), "await aiosqlite", shown="sqlite3"),
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
    _library("sqlalchemy", "database", "use SQLAlchemy's create_async_engine and AsyncSession"),
    _library("pg8000", "database", _POSTGRES),
    _library("psycopg_pool", "database", "use psycopg_pool.AsyncConnectionPool"),
    _library("pymysql", "database", _MYSQL),
    _library("pymongo", "database", "use pymongo.AsyncMongoClient"),
    _library("redis", "database", "use redis.asyncio"),
    # HTTP and other clients
    _library("requests", "network", _HTTP),
    _library("urllib", "network", _HTTP),
    _library("urllib3", "network", _HTTP),
    _library("http", "network", _HTTP),
    _library("httpx", "network", "await httpx.AsyncClient instead of httpx.Client"),
    _library("botocore", "network", "await an async client (aioboto3)"),
    _library("boto3", "network", "await an async client (aioboto3)"),
    _library("smtplib", "network", "await an async client (aiosmtplib)"),
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
            "use grpc.aio",
            shown=f"grpc.{name}",
            in_python="function",
        )
        for name, calls in _GRPC.items()
    ),
    _library("grpc", "network", "use grpc.aio"),
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
        ("getaddrinfo", "gethostbyaddr", "gethostbyname", "gethostbyname_ex"),
        "await asyncio.get_running_loop().getaddrinfo(…)",
        when.host_is_a_name,
        shown="socket",
    ),
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
        "await asyncio.create_subprocess_shell(…)",
        shown="os",
        spelled=("os.system",),
    ),
    Known("process", "posix", ("posix_spawn", "posix_spawnp", "wait"), _PROCESS, shown="os"),
    Known(
        "process",
        "posix",
        ("waitpid",),
        _PROCESS,
        when.unless_set(1, "options", "WNOHANG"),
        shown="os",
    ),
    Known(
        "process",
        "posix",
        ("waitid",),
        _PROCESS,
        when.unless_set(2, "options", "WNOHANG"),
        shown="os",
    ),
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
    _spelled("file", ".read_text(", "await anyio.Path(…).read_text()"),
    _spelled("file", ".read_bytes(", "await anyio.Path(…).read_bytes()"),
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
        "await asyncio.to_thread(…) instead of joining a thread",
        when.thread_runs,
        shown="threading.Thread",
    ),
    Known(
        "lock",
        "_queue.SimpleQueue",
        ("get",),
        "use asyncio.Queue",
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
    Known("lock", "fcntl", ("flock", "lockf"), None),
    _library("concurrent", "lock", _FUTURE),
    _library("threading", "lock", _THREADS),
    _library("asyncio", "lock", "await the future instead of waiting for its result"),
)

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


def counterpart(culprit: Culprit) -> str | None:
    """Return what to await in place of the blocking call, None where no counterpart is known."""
    calls = (*culprit.calls, *filter(None, [culprit.blocks_in]))
    return instead_of(calls, culprit.code)


def instead_of(
    calls: Iterable[str], code: str = "", category: Category | None = None
) -> str | None:
    """Return what to await in place of ``calls``, the outermost first, in a line of ``code``.

    ``category`` is that of the last call, if it is known: `os.read` reads files and pipes.
    """
    for call in calls:
        package = call.partition(".")[0].partition(" ")[0]
        for row in TABLE:
            if row.package == package and row.instead is not None:
                return row.instead
        for row in TABLE:
            is_same = category in (None, row.category)
            if is_same and any(row.public(name) == call for name in row.names):
                return row.instead
    return next((row.instead for row in TABLE for text in row.spelled if text in code), None)
