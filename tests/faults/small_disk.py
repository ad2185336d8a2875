"""A hub whose whole folder lies on a disk of a few megabytes, which this process makes for itself and nobody else sees.

Started as ``unshare --user --map-root-user --mount python small_disk.py FROM BYTES``: what lies in FROM is copied to the disk.
A ballast fills part of it; the line ``free`` on the standard input takes that away, and the end of the input stops the hub and
copies the store back.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def main(origin, size, ballast):
    disk = Path(tempfile.mkdtemp())
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], check=True)
    for path in Path(origin).iterdir():
        shutil.copy(path, disk)
    (disk / "ballast").write_bytes(bytes(int(ballast)))
    arguments = ["-m", "esplanade.cli", "--config", str(disk / "connectors.yaml"), "run"]
    hub = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    for line in sys.stdin:
        if line == "free\n":
            (disk / "ballast").unlink()
            print("freed", flush=True)
    hub.terminate()
    hub.wait()
    for path in disk.glob("hub.db*"):
        shutil.copy(path, origin)


main(*sys.argv[1:])
