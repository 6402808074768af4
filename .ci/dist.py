#!/usr/bin/env python3
"""Build the sdist and the wheel in dist/, check them, and use them as a user would.

The wheel is built from the sdist. It is installed into a fresh environment, from which the examples
run in an empty folder; the sdist is unpacked and some of its tests run.

    .ci/dist.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
USED_BY_EXAMPLES = ["aiosqlite", "fastapi", "requests", "sniffio", "sqlalchemy[asyncio]", "uvicorn"]
USED_BY_TESTS = ["hypothesis", "jsonschema", "pytest-randomly", "pytest-xdist"]
TESTS = ["tests/unit/analysis", "tests/unit/test_public_names.py", "tests/plugin/test_marker.py"]


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run a command; raises CalledProcessError."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    print("$", *command, flush=True)
    subprocess.run(command, cwd=cwd, env=clean, check=True)


def build() -> tuple[Path, Path]:
    """Build both and return their paths."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST)
    (sdist,), (wheel,) = DIST.glob("*.tar.gz"), DIST.glob("*.whl")
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)
    run(sys.executable, "-m", "check_wheel_contents", wheel)
    return sdist, wheel


def main() -> None:
    """Build, check and try; raises CalledProcessError."""
    sdist, wheel = build()
    with tempfile.TemporaryDirectory(prefix="dist-") as name:
        folder = Path(name)
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]

        run(*pip, f"{wheel}[all]", *USED_BY_EXAMPLES, *USED_BY_TESTS)
        shutil.copytree(ROOT / "examples", folder / "examples")
        run(python, "examples/demo.py", cwd=folder)
        run(python.with_name("pytest-nonblocking"), "--version", cwd=folder)

        run(*pip, "--no-deps", "--force-reinstall", sdist)
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        source = folder / sdist.name.removesuffix(".tar.gz")
        shutil.rmtree(source / "pytest_nonblocking")  # the installed one is tested
        pytest = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        run(*pytest, "-n", "2", *TESTS, cwd=source)
        # Only here: every pytest run of an environment with Locust loads gevent.
        run(*pip, "locust")
        run(*pytest, "tests/e2e/test_load_generators.py", cwd=source)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"failed: {error}")
