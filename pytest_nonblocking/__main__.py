"""``python -m pytest_nonblocking`` is the command ``pytest-nonblocking``."""

import sys

from .gate.cli import main

sys.exit(main())
