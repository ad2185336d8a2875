"""The hub's own web-hooks in the account: made, kept, mended, removed; those of others are left alone."""

import pytest

from esplanade import OutcomeUnknown, PermanentError, Secret, TemporaryError, Webhooks
from esplanade.testing import Fault
from esplanade_smartemailing.settings import BasicAuth

URL = "https://hub.example.net/in/smartemailing/k3y"
EVENTS = ["new_contact", "updated_contact", "unsubscribed_contact"]


async def register(plugin, url=URL):
    return await plugin.connector.register_webhooks(url, plugin.ctx)


async def remove(plugin):
    return await plugin.connector.remove_webhooks(plugin.ctx)


def shown(twin):
    return [(each.event, each.url.partition("?")[0], each.active) for each in twin.hooks.hooks.values()]


@pytest.fixture
async def theirs(twin):
    """Web-hooks of somebody else, one of them on the hub's own host."""
    return [
        twin.hooks.add("https://else.example/in?event_name=updated_contact", "updated_contact"),
        twin.hooks.add("https://hub.example.net/in/other?hub=0123456789ab", "new_contact"),
    ]


@pytest.fixture
def another(open_plugin, plugin):
    """A plugin with other settings that remembers what the first one did."""

    def opened(**changes):
        context = open_plugin(**changes)

        class Remembering:
            async def __aenter__(self):
                other = await context.__aenter__()
                for key in ("hub", "webhook-credentials"):
                    await other.ctx.kv.set(key, await plugin.ctx.kv.get(key))
                return other

            async def __aexit__(self, *problem):
                await context.__aexit__(*problem)

        return Remembering()

    return opened


async def test_they_are_made_once_one_for_each_event(plugin, twin):
    assert await register(plugin) == Webhooks(made=EVENTS)
    assert shown(twin) == [(event, URL, True) for event in EVENTS]
    hook = twin.hooks.hooks[2]
    marker = await plugin.ctx.kv.get("hub")
    assert hook.url == f"{URL}?event_name=updated_contact&hub={marker}&k=demo-secret-of-webhooks"
    assert (hook.auth.login, hook.auth.password) == ("hub", "demo-password-of-webhooks")
    assert await register(plugin) == Webhooks(kept=EVENTS)
    assert len(twin.hooks.hooks) == len(EVENTS)


async def test_a_url_that_has_a_query_already_keeps_it(plugin, twin):
    await register(plugin, f"{URL}?a=1")
    assert twin.hooks.hooks[1].url.startswith(f"{URL}?a=1&event_name=new_contact&")


async def test_one_that_somebody_deleted_is_made_again(plugin, twin):
    await register(plugin)
    del twin.hooks.hooks[2]
    assert await register(plugin) == Webhooks(made=["updated_contact"], kept=[EVENTS[0], *EVENTS[2:]])


@pytest.mark.parametrize("spoil", [{"active": False}, {"url": f"{URL}?event_name=updated_contact"}])
async def test_one_that_is_switched_off_or_changed_is_mended(plugin, twin, spoil):
    await register(plugin)
    for name, value in spoil.items():
        setattr(twin.hooks.hooks[2], name, value)
    assert await register(plugin) == Webhooks(mended=["updated_contact"], kept=[EVENTS[0], *EVENTS[2:]])
    assert await register(plugin) == Webhooks(kept=EVENTS)
    assert sorted(shown(twin)) == sorted((event, URL, True) for event in EVENTS)


@pytest.mark.parametrize(
    "changes",
    [
        {"basic_auth": BasicAuth(login="hub", password=Secret("another"))},
        {"basic_auth": None},
        {"webhook_shared_secret": Secret("another")},
    ],
)
async def test_other_credentials_mend_all_of_them(plugin, another, twin, changes):
    await register(plugin)
    async with another(**changes) as other:
        assert await register(other) == Webhooks(mended=EVENTS)
        assert await register(other) == Webhooks(kept=EVENTS)
        assert len(twin.hooks.hooks) == len(EVENTS)


async def test_another_url_mends_all_of_them_and_they_can_still_be_removed(plugin, twin, theirs):
    await register(plugin)
    assert await register(plugin, "https://new.example.net/in/k4y") == Webhooks(mended=EVENTS)
    assert sorted((await remove(plugin)).removed) == sorted(EVENTS)
    assert list(twin.hooks.hooks.values()) == theirs


async def test_doubles_are_removed(plugin, twin):
    await register(plugin)
    twin.hooks.add(twin.hooks.hooks[1].url, "new_contact")
    assert await register(plugin) == Webhooks(mended=["new_contact"], kept=EVENTS[1:])
    assert len(twin.hooks.hooks) == len(EVENTS)


async def test_what_is_no_longer_wanted_is_removed(plugin, another, twin):
    await register(plugin)
    async with another(webhook_events=["updated_contact", "sent_email"]) as other:
        told = await register(other)
    assert (told.kept, told.made) == (["updated_contact"], ["sent_email"])
    assert sorted(told.removed) == sorted(set(EVENTS) - {"updated_contact"})
    assert sorted(each.event for each in twin.hooks.hooks.values()) == ["sent_email", "updated_contact"]


async def test_those_of_others_are_never_touched(plugin, twin, theirs):
    await register(plugin)
    await register(plugin, "https://new.example.net/in/k4y")
    await remove(plugin)
    assert list(twin.hooks.hooks.values()) == theirs
    assert await remove(plugin) == Webhooks()


async def test_a_hub_that_has_forgotten_its_marker_finds_them_by_its_url(plugin, twin):
    await register(plugin)
    await plugin.ctx.kv.set("hub", None)
    assert await register(plugin) == Webhooks(mended=EVENTS)
    assert len(twin.hooks.hooks) == len(EVENTS)


async def test_a_lost_answer_of_the_making_makes_no_double(plugin, twin):
    twin.faults.append(Fault(match="POST .*web-hooks", action="cut-after", skip=1))
    with pytest.raises(OutcomeUnknown):
        await register(plugin)
    await register(plugin)
    assert sorted(shown(twin)) == sorted((event, URL, True) for event in EVENTS)


async def test_one_is_made_anew_before_the_other_goes_so_that_nothing_is_unheard(plugin, twin, calls):
    await register(plugin)
    twin.hooks.hooks[2].active = False
    calls()
    await register(plugin)
    assert [call.partition("?")[0] for call in calls()] == ["GET web-hooks", "POST web-hooks", "DELETE web-hooks/2"]


async def test_one_that_is_gone_already_was_removed(plugin, twin):
    await register(plugin)
    twin.faults.append(Fault(match="DELETE .*web-hooks/1", action="after", status=404))
    assert sorted((await remove(plugin)).removed) == sorted(EVENTS)
    assert twin.hooks.hooks == {}


async def test_one_that_cannot_be_removed_is_told_of(plugin, twin):
    await register(plugin)
    twin.faults.append(Fault(match="DELETE .*web-hooks/1", status=405))
    with pytest.raises(PermanentError):
        await remove(plugin)


async def test_an_operator_may_add_to_the_question(open_plugin, twin, calls):
    async with open_plugin(extra_query={"web-hooks": "limit=100"}) as plugin:
        await register(plugin)
    assert calls()[0] == "GET web-hooks?limit=100"


@pytest.mark.parametrize(
    "rows", ['{"status":"ok"}', '{"status":"ok","data":[7]}', '{"status":"ok","data":[{"url":"URL"}]}']
)
async def test_a_list_that_is_none_is_not_acted_on(plugin, twin, rows):
    marker = (await register(plugin), await plugin.ctx.kv.get("hub"))[1]
    body = rows.replace("URL", f"{URL}?hub={marker}")
    twin.faults.append(Fault(match="GET .*web-hooks", status=200, body=body))
    with pytest.raises(TemporaryError):
        await remove(plugin)
    assert len(twin.hooks.hooks) == len(EVENTS)
