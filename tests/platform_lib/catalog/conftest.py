"""A database server for the tests of one module, in a home of their own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from platform_lib.catalog.addresses import database_uri, ensure_database
from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.home import Home, open_home


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    """A folder that another account may pass through: as root, the server runs as one.

    pytest's own folders are closed again by whatever pytest starts next on the machine.
    """
    folder = Path(tempfile.mkdtemp(prefix="drivetrain-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def server(open_folder: Path) -> Iterator[tuple[Home, str]]:
    home = open_home(open_folder / "server")
    with embedded_postgres(home) as uri:
        yield home, uri


@pytest.fixture
def database(server: tuple[Home, str], request: pytest.FixtureRequest) -> str:
    """An empty database named after the test."""
    uri = database_uri(server[1], f"test_{abs(hash(request.node.nodeid)):x}")
    ensure_database(uri)
    return uri


@pytest.fixture
def catalog(database: str) -> Iterator[Catalog]:
    with Catalog(database) as opened:
        yield opened
