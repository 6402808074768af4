"""Where the services are that the handlers call; the laboratory starts them."""

from __future__ import annotations

import os


def host() -> str:
    """Return the host of the slow service."""
    return "127.0.0.1"


def port() -> int:
    """Return the port of the slow service."""
    return int(os.environ["TRUTH_PORT"])


def url(milliseconds: int, kind: str = "") -> str:
    """Return a URL that answers after ``milliseconds``."""
    return f"http://{host()}:{port()}/{kind}{milliseconds}"


def database() -> str:
    """Return the file of a database with a thousand orders."""
    return os.environ["TRUTH_DATABASE"]
