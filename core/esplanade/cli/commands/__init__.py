"""Every command, in the order of ``--help``'s alphabet."""

from .audit import audit
from .hub import check, connectors, discover, pause, pull, resume
from .people import explain, import_, person
from .plugins import plugins, schema
from .queue import dead, delivery, queue, replay
from .run import run
from .send import send
from .twin import twin

COMMANDS = (
    audit,
    check,
    connectors,
    dead,
    delivery,
    discover,
    explain,
    import_,
    pause,
    person,
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
