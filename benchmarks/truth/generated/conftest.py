"""Keeps the laboratory's test out of any run that is not the laboratory's."""

from __future__ import annotations

import os

collect_ignore = [] if "TRUTH_SEEDS" in os.environ else ["test_generated.py"]
