"""Whom transactional mails are from, and the lists that the hub makes: what the settings say, else what a purpose's mails say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esplanade import PermanentError

from .settings import SmartEmailingConsent

if TYPE_CHECKING:
    from esplanade import Context

    from .client import Account, Row
    from .layout import Layout
    from .settings import Sender


async def sender(account: Account, layout: Layout, ctx: Context, *, purpose: str | None = None) -> Sender:
    """The sender of the settings, else that of a double opt-in, else that of a purpose's contact list; those of ``purpose`` first.

    Raises PermanentError where there is none.
    """
    if account.settings.sender is not None:
        return account.settings.sender
    named = sorted(ctx.consents.items(), key=lambda pair: pair[0] != purpose)
    targets = [target for _, target in named if isinstance(target, SmartEmailingConsent)]
    for target in targets:
        if target.double_opt_in is not None:
            return target.double_opt_in
    for target in targets:
        found = await layout.sender_of(target.list, account, ctx.clock)
        if found is not None:
            return found
    raise PermanentError("nothing says whom mails are from; give settings.sender: from, sender_name, reply_to")


def credentials(of: Sender) -> Row:
    """A sender as the vendor takes it."""
    return {"from": of.from_address, "sender_name": of.sender_name, "reply_to": of.reply_to}
