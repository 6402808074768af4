"""Servers that a page needs, started for its test and stopped after it."""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def postgresql():
    """Yield the variables that lead clients to a PostgreSQL of its own on the loopback."""
    programs = _BINARIES[-1].parent if _BINARIES else Path(shutil.which("initdb") or "/").parent
    if not (programs / "initdb").exists():
        pytest.skip("PostgreSQL is not installed")
    # It refuses to run as root.
    user = {"user": "nobody"} if getpass.getuser() == "root" else {}
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        if user:
            shutil.chown(folder, "nobody")

        def call(program, *arguments):
            subprocess.run(
                [programs / program, *arguments],
                cwd=folder,
                env={**os.environ, "LC_ALL": "C"},
                check=True,
                stdout=subprocess.DEVNULL,
                **user,
            )

        how = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        call("initdb", "-D", f"{folder}/data", *how)
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync=off"
        call("pg_ctl", "-D", f"{folder}/data", "-o", options, "-l", f"{folder}/log", "-w", "start")
        try:
            yield {
                "DATABASE_URL": f"postgresql://postgres@127.0.0.1:{port}/postgres",
                "PGHOST": "127.0.0.1",
                "PGPORT": str(port),
                "PGUSER": "postgres",
            }
        finally:
            call("pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "-w", "stop")
