"""A whole hub and a Copernica whose calls are set up in the way that loops elsewhere: the hub goes quiet all the same."""

import asyncio
import json
import time

import pytest
import structlog

from esplanade import runtime
from esplanade.records import DeliveryFilter

SOURCE = {"shop": {"token": "a-token-of-the-shop-1"}}
CONNECTOR = {
    "plugin": "copernica",
    "settings": {"api_token": "demo-api-token", "database_id": 31},
    "fields": {"city": "City", "name": "Firstname"},
    "consents": {"newsletter": {"field": "Newsletter", "granted": "yes", "denied": "no"}},
    "audiences": {"vip": {"id": 12}},
    "twin": True,
    "webhooks": "manual",
}


@pytest.fixture
def quiet():
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    yield
    structlog.reset_defaults()


@pytest.fixture
async def hub(tmp_path, quiet):
    content = {
        "hub": {"listen": "127.0.0.1:0", "store": "sqlite:hub.db", "egress": {"allow": ["127.0.0.0/8"]}},
        "sources": SOURCE,
        "connectors": {"copernica": CONNECTOR},
    }
    (tmp_path / "connectors.yaml").write_text(json.dumps(content))
    started = await runtime.Hub.start(runtime.load(tmp_path / "connectors.yaml", {}))
    yield started
    await started.stop()


@pytest.fixture
def twin(hub):
    twin = hub.connections["copernica"].twin
    twin.keep_requests = True
    return twin


async def says(hub, kind, **body):
    admission = hub.intake.admit("shop", kind, [json.dumps(body).encode()], may={kind}, backfill=False, imported=False)
    assert not admission.rejected
    await hub.intake.accept(admission.entries)


async def at_rest(hub, twin):
    """Return once neither side has anything more to say to the other."""
    async with asyncio.timeout(20):
        while True:
            before = twin.request_count
            await hub.settled()
            await twin.settled()
            await hub.settled()
            if twin.request_count == before:
                return


async def heard(hub):
    """How many calls of the vendor the hub has read."""
    wanted = DeliveryFilter(connector="copernica", kind="webhook", states=["done"])
    return len(await hub.store.read(lambda reader: reader.deliveries(wanted)))


def writes(twin):
    return [each for each in twin.requests if each.method in {"PUT", "POST"} and "/v4/" in each.path]


@pytest.mark.parametrize("shape", ["A", "B"])
async def test_with_every_trigger_on_a_change_is_written_once_and_comes_back_once(hub, twin, shape):
    twin.hooks.add_callback(twin.hook_url, database=31, action="all", shape=shape)
    await says(hub, "profile", email="noor@example.net", fields={"city": "Delft", "name": " Noor "})
    await says(
        hub, "consent", email="noor@example.net", purpose="newsletter", state="granted", evidence={"form": "footer"}
    )
    await at_rest(hub, twin)
    held = twin.find("noor@example.net").fields
    assert (held["City"], held["Newsletter"]) == ("Delft", "yes")
    assert len(writes(twin)) == 2  # one for the profile, one for the consent
    assert await heard(hub) == 2  # and each was told back

    async with asyncio.timeout(10):
        second = int(time.time())  # the vendor tells the second of a change; of two in one, nobody knows which is newer
        while int(time.time()) == second:
            await asyncio.sleep(0.05)
    profile = twin.find("noor@example.net")
    twin.edit_profile(profile.id, {"City": "Breda", "Newsletter": "no"})
    await at_rest(hub, twin)
    assert (profile.fields["City"], profile.fields["Newsletter"]) == ("Breda", "no")
    assert len(writes(twin)) <= 3  # an opt-out that carries no time is told once more, to be sure
    person = await hub.store.read(lambda reader: reader.person_by_email("noor@example.net"))
    assert (person.fields["city"].value, person.consents["newsletter"].state) == ("Breda", "denied")


async def test_webhooks_that_tell_of_every_caller_and_callbacks_beside_them_go_quiet_too(hub, twin):
    connection = hub.connections["copernica"]
    for trigger in ("create", "update", "delete"):
        body = {"handler": twin.hook_url, "trigger": trigger, "database": 31}
        await connection.ctx.http.post("/v4/webhooks", json=body)
    twin.hooks.add_callback(twin.hook_url, database=31, action="all", shape="A")
    twin.requests.clear()
    for city in ("Delft", "Breda", "Delft"):
        await says(hub, "profile", email="noor@example.net", fields={"city": city})
        await at_rest(hub, twin)
    assert twin.find("noor@example.net").fields["City"] == "Delft"
    assert len(writes(twin)) == 3


async def test_somebody_who_signs_up_at_the_vendor_becomes_known_and_is_not_written_back(hub, twin):
    twin.hooks.add_callback(twin.hook_url, database=31, action="all", shape="A")
    twin.sign_up("eve@example.net", {"City": "Gouda", "Newsletter": "yes"})
    await at_rest(hub, twin)
    person = await hub.store.read(lambda reader: reader.person_by_email("eve@example.net"))
    assert person.fields["city"].value == "Gouda"
    assert writes(twin) == []


@pytest.mark.parametrize("shape", ["A", "B", "webhook"])
async def test_a_vendor_that_puts_every_name_right_is_heard_and_not_answered(hub, twin, shape):
    """What comes back is neither what was sent nor what was there before."""
    twin.account.tidy = lambda text: " ".join(text.split()).title()
    if shape == "webhook":
        for trigger in ("create", "update", "delete"):
            twin.hooks.add(twin.hook_url, trigger, database=31)
    else:
        twin.hooks.add_callback(twin.hook_url, database=31, action="all", shape=shape)
    for name in ("  noor   van dam", "NOOR VAN DAM", "noor van dam "):
        await says(hub, "profile", email="noor@example.net", fields={"name": name, "city": "den haag"})
        await at_rest(hub, twin)
    assert twin.find("noor@example.net").fields["Firstname"] == "Noor Van Dam"
    assert len(writes(twin)) <= 3, "one for each that the shop said, and none for what came back"
    twin.requests.clear()
    await hub.pull("copernica")
    await at_rest(hub, twin)
    assert len(writes(twin)) <= (shape == "B"), "shape B tells what was sent, as if that were held"
    twin.requests.clear()
    await hub.pull("copernica")
    await at_rest(hub, twin)
    assert writes(twin) == []
