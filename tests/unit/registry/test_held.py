"""The registry takes each connector as one pluggy plugin, and refuses hooks that pluggy alone would not see or call."""

import pytest

from esplanade import Outcome, PluginError
from esplanade.errors import PluginLoadError
from esplanade.registry import Registry

from .conftest import GOOD, plugin_source

HOOKS = "on_profile, on_consent, on_trigger, on_inbound_webhook, on_profile_batch, on_consent_batch, on_trigger_batch"


@pytest.fixture
def build(environment):
    """Make a connector of a plugin whose class ends with the given lines."""

    def make(body: str = "", **settings):
        namespace: dict[str, object] = {"__name__": "crm"}
        exec(compile(plugin_source(body), "crm.py", "exec"), namespace)
        return namespace["Crm"](namespace["CrmSettings"](**settings))

    return make


async def test_two_connectors_of_one_plugin_are_two_plugins_with_their_own_hooks(environment):
    plugin = environment.find(environment.write(GOOD))
    registry = Registry()
    registry.register("crm-nl", plugin(plugin.Settings(key="nl")))
    registry.register("crm-cz", plugin(plugin.Settings(key="cz")))

    answers = [await registry.hook(name, "on_profile")(None, None) for name in registry.names()]

    assert answers == [Outcome(remote_id="nl"), Outcome(remote_id="cz")]
    assert [name for name, _ in registry.plugins.list_name_plugin()] == ["crm-nl", "crm-cz"]
    assert len(registry.plugins.hook.on_profile.get_hookimpls()) == 2


def test_a_hook_is_bound_once(build):
    registry = Registry()
    registry.register("crm", build("@hookimpl\nasync def on_consent(self, event, ctx):\n    return Outcome()"))

    assert registry.hook("crm", "on_consent") is registry.hook("crm", "on_consent")
    assert registry.hook("crm", "on_profile") is None
    assert registry.hook("nobody", "on_profile") is None


def test_capabilities_are_what_is_implemented_in_a_fixed_order(build):
    registry = Registry()
    connector = build("""
        async def pull(self, cursor, ctx):
            return None

        async def check(self, ctx):
            return None

        @hookimpl
        async def on_trigger_batch(self, events, ctx):
            return []

        @hookimpl
        async def on_inbound_webhook(self, event, ctx):
            return []

        @hookimpl
        async def on_consent(self, event, ctx):
            return Outcome()
    """)
    registry.register("crm", connector)

    assert registry.capabilities("crm") == {
        "hooks": ["on_consent", "on_inbound_webhook", "on_trigger_batch"],
        "methods": ["check", "pull"],
    }
    assert registry.capabilities("nobody") == {"hooks": [], "methods": []}
    assert registry.connector("crm") is connector


def test_hooks_may_be_inherited_and_typed(build):
    registry = Registry()
    body = """
        @hookimpl
        async def on_profile(self, event: "ProfileEvent", ctx: "Context") -> Outcome:
            return Outcome()
    """
    base = type(build(body))
    heir = type("Heir", (base,), {})
    registry.register("crm", heir(base.Settings()))

    assert registry.capabilities("crm")["hooks"] == ["on_profile"]


def test_a_connector_without_hooks_is_fine_and_its_private_names_are_its_own(build):
    registry = Registry()
    registry.register("crm", build("def _on_profil(self):\n    pass"))

    assert registry.capabilities("crm") == {"hooks": [], "methods": []}


def test_no_attribute_but_a_hook_is_looked_at(build):
    registry = Registry()
    registry.register("crm", build("@property\ndef address(self):\n    raise RuntimeError('looked at')"))

    assert registry.names() == ["crm"]


def test_an_unregistered_connector_is_gone_and_its_name_free(build):
    registry, body = Registry(), "@hookimpl\nasync def on_profile(self, event, ctx):\n    return Outcome()"
    registry.register("crm", build(body))
    registry.unregister("crm")
    registry.unregister("crm")

    assert registry.hook("crm", "on_profile") is None
    assert registry.connector("crm") is None
    assert registry.plugins.hook.on_profile.get_hookimpls() == []
    registry.register("crm", build(body))


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (
            "@hookimpl\nasync def on_profil(self, event, ctx): ...",
            f"on_profil is not a hook; did you mean on_profile? The hooks are {HOOKS}",
        ),
        (
            "async def on_profil(self, event, ctx): ...",
            f"on_profil is not a hook; did you mean on_profile? The hooks are {HOOKS}",
        ),
        (
            "on_sale = True",
            f"on_sale is not a hook; begin its name with an underscore if it is none. The hooks are {HOOKS}",
        ),
        (
            "@hookimpl\nasync def profile(self, event, ctx): ...",
            f"profile is not a hook; did you mean on_profile? The hooks are {HOOKS}",
        ),
        (
            "async def on_profile(self, event, ctx): ...",
            "on_profile is not marked as a hook; write @hookimpl above it",
        ),
        (
            "@hookimpl\ndef on_profile(self, event, ctx): ...",
            "on_profile is not a coroutine method; write: async def on_profile(self, event, ctx)",
        ),
        (
            "@hookimpl\nasync def on_profile_batch(self, events, ctx):\n    yield 1",
            "on_profile_batch is not a coroutine method; write: async def on_profile_batch(self, events, ctx)",
        ),
        (
            "@staticmethod\n@hookimpl\nasync def on_profile(event, ctx): ...",
            "on_profile is not a coroutine method; write: async def on_profile(self, event, ctx)",
        ),
        (
            "on_profile = 3",
            "on_profile is not a coroutine method; write: async def on_profile(self, event, ctx)",
        ),
        (
            "@hookimpl\nasync def on_profile(self, event): ...",
            (
                "on_profile takes (self, event); "
                "write: async def on_profile(self, event, ctx), exactly these and without defaults"
            ),
        ),
        (
            "@hookimpl\nasync def on_profile(self, event: int, context: int): ...",
            (
                "on_profile takes (self, event, context); "
                "write: async def on_profile(self, event, ctx), exactly these and without defaults"
            ),
        ),
        (
            "@hookimpl\nasync def on_profile(self, event, ctx=None): ...",
            (
                "on_profile takes (self, event, ctx=None); "
                "write: async def on_profile(self, event, ctx), exactly these and without defaults"
            ),
        ),
        (
            "@hookimpl\nasync def on_trigger(self, *args, **more): ...",
            (
                "on_trigger takes (self, *args, **more); "
                "write: async def on_trigger(self, event, ctx), exactly these and without defaults"
            ),
        ),
        (
            "@hookimpl\nasync def on_consent(self, event, *, ctx): ...",
            (
                "on_consent takes (self, event, ctx); "
                "write: async def on_consent(self, event, ctx), exactly these and without defaults"
            ),
        ),
        (
            "@hookimpl\nasync def on_profile_batch(self, event, ctx): ...",
            (
                "on_profile_batch takes (self, event, ctx); "
                "write: async def on_profile_batch(self, events, ctx), exactly these and without defaults"
            ),
        ),
        (
            "@hookimpl(tryfirst=True, specname='on_profile')\nasync def on_profile(self, event, ctx): ...",
            "on_profile asks pluggy for specname, tryfirst; write @hookimpl without options",
        ),
        (
            (
                "@hookimpl\nasync def on_profile(self, event, ctx): ...\n"
                "@hookimpl\nasync def on_profile_batch(self, events, ctx): ..."
            ),
            "has both on_profile and on_profile_batch; keep the one that fits the vendor's API better",
        ),
        (
            "def __init__(self, settings):\n    self.on_profile = lambda event, ctx: None",
            "on_profile is set on the instance; define it in the class",
        ),
    ],
    ids=[
        "unknown",
        "unknown-unmarked",
        "unknown-value",
        "unknown-marked",
        "unmarked",
        "not-async",
        "generator",
        "static",
        "value",
        "too-few",
        "other-name",
        "default",
        "star",
        "keyword-only",
        "singular",
        "options",
        "both",
        "instance",
    ],
)
def test_a_hook_that_is_not_right_is_refused_and_the_others_stay(build, body, refusal):
    registry = Registry()
    good = "@hookimpl\nasync def on_profile(self, event, ctx):\n    return Outcome()"
    registry.register("before", build(good))

    with pytest.raises(PluginLoadError) as caught:
        registry.register("crm", build(body))

    assert str(caught.value) == f"connector crm: plugin crm:Crm: {refusal}"
    assert isinstance(caught.value, PluginError)
    assert registry.names() == ["before"]
    assert [name for name, _ in registry.plugins.list_name_plugin()] == ["before"]
    registry.register("after", build(good))
    assert registry.names() == ["before", "after"]


def test_a_name_that_is_taken_is_refused_and_its_holder_stays(build):
    registry, first = Registry(), build()
    registry.register("crm", first)

    with pytest.raises(PluginLoadError) as caught:
        registry.register("crm", build())

    assert str(caught.value) == "connector crm: plugin crm:Crm: the name crm is taken; unregister it first"
    assert registry.connector("crm") is first


def test_one_instance_cannot_serve_two_connectors(build):
    registry, one = Registry(), build()
    registry.register("crm", one)

    with pytest.raises(PluginLoadError, match=r"^connector other: .*; build one instance per connector$"):
        registry.register("other", one)

    assert registry.names() == ["crm"]
    assert registry.connector("other") is None
