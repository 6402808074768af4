"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 in place of what ``path`` holds, or raise OSError and leave that.

    A symbolic link stays one: the file that it leads to is written.
    """
    path = path.resolve()
    handle, name = tempfile.mkstemp(prefix=".nonblocking-", dir=path.parent)
    os.close(handle)
    unfinished = Path(name)
    try:
        unfinished.write_text(text, encoding="utf-8", newline="\n")
        unfinished.chmod(0o666 & ~_umask())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink()
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
