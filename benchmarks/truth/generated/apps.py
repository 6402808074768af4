"""The applications as files below a folder, and as modules."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from . import render
from .compose import Case

FOLDER = Path(__file__).resolve().parents[3] / "build" / "truth" / "generated" / "apps"


def write(case: Case, folder: Path = FOLDER) -> Path:
    """Write those of the case's files that are not as they should be; return their folder."""
    home = folder / package(case)
    home.mkdir(parents=True, exist_ok=True)
    sources = render.sources(case)
    for stale in set(home.glob("*.py")) - {home / name for name in sources}:
        stale.unlink()
    for name, text in sources.items():
        file = home / name
        if not file.exists() or file.read_text("utf-8") != text:
            file.write_text(text, "utf-8")
    return home


def load(case: Case, folder: Path = FOLDER) -> Any:
    """Write and import the case's application and return it."""
    write(case, folder)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    return importlib.import_module(f"{package(case)}.main").app


def package(case: Case) -> str:
    """Return the name of the package with the case's application."""
    return f"seed_{case.seed}"
