"""For every test of the repository: code of the core or of a plugin that blocks the event loop is an error."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

BEFORE_THE_FIRST_EVENT = (
    ("esplanade/runtime/load.py", {"load", "find", "plugin_report"}),
    ("esplanade/registry/find.py", {"find", "installed", "version_of"}),
    ("esplanade/store/locate.py", {"sqlite_path", "open_store", "reading", "holder"}),
    ("esplanade/store/sqlite/connection.py", {"take", "holder", "describe", "release", "open_reader", "open_writer"}),
    ("esplanade/store/migrate.py", {"migrations"}),
)
"""Small files, touched once while a hub starts, or by commands that have no loop to block."""


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop(request: pytest.FixtureRequest) -> Iterator[BlockBuster | None]:
    """Watch whatever the test runs; commands, whose loop serves nobody else, and tests marked ``may_block`` are left alone."""
    if "cli" in request.path.parts or request.node.get_closest_marker("may_block"):
        yield None
        return
    with blockbuster_ctx("esplanade") as watch:
        for function in watch.functions.values():
            for file, functions in BEFORE_THE_FIRST_EVENT:
                function.can_block_in(file, functions)
        yield watch
