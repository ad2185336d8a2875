"""The file to read first says when each hook is called, and its examples work as they stand there."""

import doctest
import inspect
from datetime import UTC, datetime

import msgspec
import pytest
from aiohttp import web

from esplanade import (
    Connector,
    ConsentEvent,
    ConsentTarget,
    Endpoint,
    InboundRequest,
    Outcome,
    ProfileEvent,
    Report,
    TriggerEvent,
    TriggerTarget,
    hookimpl,
    hookspecs,
)
from esplanade.registry import Registry
from esplanade.testing import open_context

HOOKS = [name for name in vars(hookspecs) if name.startswith("on_")]
AT = datetime(2026, 1, 15, 10, tzinfo=UTC)
ADA = {"delivery_id": "d-1", "person": "p-1", "email": "ada@example.com", "at": AT}
EVE = {"delivery_id": "d-2", "person": "p-2", "email": "eve@example.com", "at": AT}

PROFILE = ProfileEvent(**ADA, changed={"city": "Brno"}, desired={"city": "Brno"})
OTHER_PROFILE = ProfileEvent(**EVE, changed={"city": "Delft"}, desired={"city": "Delft"})
GRANT = ConsentEvent(**ADA, purpose="newsletter", target=ConsentTarget(), state="granted", said_at=AT)
DENIAL = ConsentEvent(**EVE, purpose="newsletter", target=ConsentTarget(), state="denied", said_at=AT)
TRIGGER = TriggerEvent(**ADA, trigger="abandoned-cart", target=TriggerTarget(), trigger_id="t-9")
OTHER_TRIGGER = TriggerEvent(**EVE, trigger="abandoned-cart", target=TriggerTarget(), trigger_id="t-10")
WEBHOOK = InboundRequest(method="POST", body=b'{"email":"ada@example.com","city":"Brno"}', received_at=AT)

# Per hook: what it is called with, what the vendor must hear, and what it must answer.
EXAMPLES = [
    (
        "on_profile",
        PROFILE,
        [("PUT", "/people/p-1", {"city": "Brno"})],
        Outcome(remote_id="9001"),
    ),
    (
        "on_consent",
        GRANT,
        [("PUT", "/people/p-1/purposes/newsletter", None)],
        Outcome(),
    ),
    (
        "on_consent",
        DENIAL,
        [("DELETE", "/people/p-2/purposes/newsletter", None)],
        Outcome(),
    ),
    (
        "on_trigger",
        TRIGGER,
        [("POST", "/mails", {"to": "ada@example.com", "template": "abandoned-cart", "key": "t-9"})],
        Outcome(),
    ),
    (
        "on_inbound_webhook",
        WEBHOOK,
        [],
        [Report(email="ada@example.com", fields={"city": "Brno"})],
    ),
    (
        "on_profile_batch",
        [PROFILE, OTHER_PROFILE],
        [("POST", "/people/bulk", [{"city": "Brno"}, {"city": "Delft"}])],
        [Outcome(), Outcome()],
    ),
    (
        "on_consent_batch",
        [GRANT, DENIAL],
        [("POST", "/consents", [["ada@example.com", "granted"], ["eve@example.com", "denied"]])],
        [Outcome(), Outcome()],
    ),
    (
        "on_trigger_batch",
        [TRIGGER, OTHER_TRIGGER],
        [("POST", "/mails/bulk", [["ada@example.com", "t-9"], ["eve@example.com", "t-10"]])],
        [Outcome(), Outcome()],
    ),
]


def example_of(hook: str, origin: str) -> Connector:
    """The connector that a hook's docstring shows, with a vendor behind it."""
    examples = doctest.DocTestParser().get_examples(getattr(hookspecs, hook).__doc__)
    names = {"Connector": Connector, "hookimpl": hookimpl, "Outcome": Outcome, "Report": Report, "msgspec": msgspec}
    for example in examples:
        exec(compile(example.source, f"<the docstring of {hook}>", "exec"), names)

    class Crm(names["Crm"]):
        def endpoint(self) -> Endpoint:
            return Endpoint(base_url=origin)

    return Crm(settings=None)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_says_when_it_is_called(hook):
    first = inspect.getdoc(getattr(hookspecs, hook)).splitlines()[0]

    assert first.startswith("Called ")
    assert first.startswith(("Called when ", f"Called instead of ``{hook.removesuffix('_batch')}`` "))


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_takes_an_event_and_the_context_and_is_a_coroutine(hook):
    spec = getattr(hookspecs, hook)

    assert list(inspect.signature(spec).parameters) == ["events" if hook.endswith("_batch") else "event", "ctx"]
    assert inspect.iscoroutinefunction(spec)
    assert getattr(spec, f"{hookspecs.PROJECT}_spec") is not None


def test_every_hook_has_its_example_tried():
    assert list(dict.fromkeys(hook for hook, *_ in EXAMPLES)) == HOOKS


@pytest.mark.parametrize(
    ("hook", "event", "heard", "answer"), EXAMPLES, ids=[f"{hook}-{n}" for n, (hook, *_) in enumerate(EXAMPLES)]
)
async def test_an_example_works_as_it_stands(aiohttp_server, hook, event, heard, answer):
    requests = []

    async def vendor(request: web.Request) -> web.Response:
        body = await request.read()
        requests.append((request.method, request.path, msgspec.json.decode(body) if body else None))
        known = request.method != "DELETE"  # somebody whom the vendor never had opts out
        return web.json_response({"id": "9001"}, status=200 if known else 404)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", vendor)
    server = await aiohttp_server(app)
    connector, registry = example_of(hook, str(server.make_url("")).rstrip("/")), Registry()
    registry.register("crm", connector)

    async with open_context(connector) as ctx:
        assert await registry.hook("crm", hook)(event, ctx) == answer

    assert requests == heard
    assert registry.capabilities("crm")["hooks"] == [hook]
