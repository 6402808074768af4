"""What all examples share: the slow service and the database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from services import slow_service
from shop import orders


@pytest.fixture(scope="session", autouse=True)
def stock_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the slow service for the whole session."""
    with slow_service() as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STOCK_URL", url)
        yield url


@pytest.fixture(scope="session")
def shop_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make a database with a thousand orders."""
    file = tmp_path_factory.mktemp("shop") / "shop.db"
    orders.fill(str(file))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOP_DATABASE", str(file))
        yield file
