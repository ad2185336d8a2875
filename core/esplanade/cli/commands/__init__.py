"""Every command, in the order of ``--help``'s alphabet."""

from .audit import audit
from .hub import check, connectors, discover, pause, pull, resume
from .people import explain, import_, person
from .plugin import plugin
from .plugins import plugins, schema
from .queue import dead, delivery, queue, replay
from .run import run
from .send import send
from .twin import twin
from .webhook import webhook
from .webhooks import webhooks

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
    plugin,
    plugins,
    pull,
    queue,
    replay,
    resume,
    run,
    schema,
    send,
    twin,
    webhook,
    webhooks,
)

__all__ = ["COMMANDS"]
