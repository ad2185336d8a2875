"""Every command, in the order of ``--help``'s alphabet."""

from .hub import check, connectors, discover, pause, pull, resume
from .people import explain, import_
from .plugins import plugins, schema
from .queue import dead, queue, replay
from .run import run
from .send import send
from .twin import twin

COMMANDS = (
    check,
    connectors,
    dead,
    discover,
    explain,
    import_,
    pause,
    plugins,
    pull,
    queue,
    replay,
    resume,
    run,
    schema,
    send,
    twin,
)

__all__ = ["COMMANDS"]
