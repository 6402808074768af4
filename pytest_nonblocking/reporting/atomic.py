"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 in place of what ``path`` holds, or raise OSError and leave that.

    A symbolic link stays one: the file that it leads to is written. A file that is replaced keeps
    its permissions.
    """
    path = path.resolve()
    handle, name = tempfile.mkstemp(prefix=".nonblocking-", dir=path.parent)
    os.close(handle)
    unfinished = Path(name)
    try:
        unfinished.write_text(text, encoding="utf-8", newline="\n")
        unfinished.chmod(_mode_of(path))
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink()
        raise


def _mode_of(path: Path) -> int:
    """Return the permissions of ``path``, or those of a new file."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
