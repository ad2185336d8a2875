"""What a power cut leaves of the files of a hub that was killed: of the WAL only what SQLite had taken to the disk.

A kill leaves all that was written, for the kernel holds it. Without power only what was synced is sure to be there. SQLite syncs
the WAL at each commit while ``synchronous`` is FULL, and before its pages are copied into the database file; and that file before
the WAL is begun anew (https://www.sqlite.org/pragma.html#pragma_synchronous). Of a WAL the frames count up to the first that is
damaged, so whatever else is lost, it is an end of the WAL.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

from tests.faults.crashing import Commit, WalIndex, commits, note

HEAD_BYTES, FRAME_HEAD_BYTES = 32, 24


def cut_power(folder: Path, torn: Random | None = None) -> int:
    """Cut the WAL back to its last sync; how many pages were lost. ``torn``: some of what was not synced is there as well."""
    shm, wal = folder / "hub.db-shm", folder / "hub.db-wal"
    if not wal.exists():
        return 0
    index = WalIndex(shm.read_bytes())
    frame_bytes = FRAME_HEAD_BYTES + int.from_bytes(wal.read_bytes()[8:12], "big")
    synced = next((one.pages for one in reversed(commits(folder)) if one.synced and one.salt == index.salt), 0)
    end = HEAD_BYTES + max(synced, index.in_file) * frame_bytes
    if torn is not None:
        end = torn.randint(end, HEAD_BYTES + index.pages * frame_bytes)
    with wal.open("r+b") as file:
        file.truncate(end)
    shm.unlink()
    kept = (end - HEAD_BYTES) // frame_bytes
    note(folder, Commit(what=["power cut"], synced=True, salt=index.salt, pages=kept))
    return index.pages - kept
