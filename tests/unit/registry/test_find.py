"""A plugin is found by its entry point or its file; a broken one is one error that names it and the remedy."""

import sys
import textwrap

import pytest

from esplanade import Connector, ConsentTarget
from esplanade.registry import installed, types_of, version_of

from .conftest import GOOD, HEAD, plugin_source


def test_a_file_beside_connectors_yaml_is_a_plugin(environment):
    plugin = environment.find(environment.write(GOOD))

    assert issubclass(plugin, Connector)
    assert plugin.manifest.title == "Crm"


def test_an_entry_point_of_an_installed_distribution_is_a_plugin(environment):
    plugin = environment.find(environment.install("crm", GOOD))

    assert plugin.__module__ == "esplanade_crm"


def test_a_file_gives_one_class_until_it_is_edited(environment):
    reference = environment.write(GOOD)
    first, again = environment.find(reference), environment.find(reference)
    environment.write(GOOD.replace('title="Crm"', 'title="New"'))

    assert first is again
    assert environment.find(reference).manifest.title == "New"


def test_a_file_leaves_no_bytecode_beside_the_operators_configuration(environment):
    environment.find(environment.write(GOOD))

    assert [each.name for each in environment.base.iterdir()] == ["crm.py"]


def test_a_file_may_have_private_connectors_and_import_public_ones(environment):
    environment.install("crm", GOOD)
    text = (
        HEAD.replace("class Crm(", "class _Base(")
        + "\n\nfrom esplanade_crm import Crm\n\n\nclass Own(_Base):\n    pass\n"
    )
    with environment.alone():
        plugin = environment.find(environment.write(text))

    assert plugin.__name__ == "Own"


def test_what_the_configuration_reader_must_know_is_derived(environment):
    body = """
        Consent = ConsentTarget
        all_fields = True

        @hookimpl
        async def on_trigger(self, event, ctx):
            return Outcome()

        @hookimpl
        async def on_profile_batch(self, events, ctx):
            return []

        async def check(self, ctx):
            return None
    """
    types = types_of(environment.find(environment.write(plugin_source(body))))

    assert types.settings.__name__ == "CrmSettings"
    assert (types.consent, types.audience, types.trigger) == (ConsentTarget, None, None)
    assert types.receives == ["profile", "trigger"]
    assert types.all_fields
    assert types.methods == ["check"]


def test_installed_plugins_are_listed_without_importing_them(environment):
    environment.install("mail", "raise RuntimeError('imported')", version="2.0")
    environment.install("crm", "raise RuntimeError('imported')")
    with environment.alone():
        found = [(each.name, each.distribution, each.version, each.target) for each in installed()]

    assert found == [
        ("crm", "esplanade-crm", "1.2.3", "esplanade_crm:Crm"),
        ("mail", "esplanade-mail", "2.0", "esplanade_mail:Crm"),
    ]


def test_the_version_is_the_distributions_or_local(environment):
    environment.install("crm", GOOD, version="4.5.6")
    with environment.alone():
        assert version_of("crm") == "4.5.6"
        assert version_of("./crm.py") == "local"
        assert version_of("nobody") == "local"


def test_a_distribution_with_malformed_entry_points_hides_only_its_own(environment):
    environment.metadata("esplanade-odd", "[esplanade]\nthis is no entry point\n")
    environment.install("crm", GOOD)

    assert environment.find("crm").__name__ == "Crm"


def test_a_distribution_that_is_on_the_path_twice_counts_once(environment):
    environment.install("crm", GOOD)
    with environment.alone():
        sys.path.append(str(environment.site))
        assert [each.name for each in installed()] == ["crm"]


# What is refused. Each message stands here whole: it is what the operator reads.


def test_a_plugin_that_is_not_installed_names_those_that_are(environment):
    environment.install("mail", GOOD)
    environment.install("webpower", GOOD)

    assert environment.refusal("nosuch") == (
        "plugin nosuch: is not installed; installed are mail, webpower; run: pip install esplanade-nosuch"
    )
    assert environment.refusal("webpowr") == (
        "plugin webpowr: is not installed; installed are mail, webpower; did you mean webpower? "
        "Else run: pip install esplanade-webpowr"
    )


def test_no_plugin_at_all_is_said(environment):
    assert environment.refusal("crm") == (
        "plugin crm: is not installed; installed are none; run: pip install esplanade-crm"
    )


def test_a_file_that_is_not_there_names_the_directory_it_was_sought_in(environment):
    assert environment.refusal("./plugins/crm.py") == (
        "plugin ./plugins/crm.py: cannot be read from CONFIG/plugins/crm.py (No such file or directory); "
        "paths begin at the directory of connectors.yaml"
    )


def test_two_distributions_with_one_name_are_refused(environment):
    environment.install("crm", GOOD)
    environment.install("crm", GOOD, distribution="other-crm")

    assert environment.refusal("crm") == (
        "plugin crm: is offered by esplanade-crm and other-crm; uninstall all but one"
    )


@pytest.mark.parametrize(
    ("text", "raised"),
    [
        ("x = 1\nraise RuntimeError('no\\n  luck')\n", "RuntimeError: no luck ({}:2)"),
        ("import sys\n\nsys.exit(3)\n", "SystemExit: 3 ({}:3)"),
        ("import sys\nsys.exit()\n", "SystemExit ({}:2)"),
        ("import esplanade_nowhere\n", "ModuleNotFoundError: No module named 'esplanade_nowhere' ({}:1)"),
        ("x = (1,\n", "SyntaxError: '(' was never closed ({}:1)"),
        ("import json\n\njson.loads('')\n", "JSONDecodeError: Expecting value: line 1 column 1 (char 0) ({}:3)"),
        (
            GOOD.replace("Outcome", "Outcom"),
            "ImportError: cannot import name 'Outcom' from 'esplanade' (ESPLANADE) ({}:3)",
        ),
    ],
    ids=["raises", "exits", "exits-silently", "imports-nothing", "syntax", "stdlib", "old-name"],
)
@pytest.mark.parametrize("way", ["file", "entry point"])
def test_an_import_that_fails_is_one_error_with_its_line(environment, way, text, raised):
    import esplanade

    if way == "file":
        reference, place = environment.write(text), "CONFIG/crm.py"
    else:
        reference, place = environment.install("crm", text), "SITE/esplanade_crm.py"

    assert environment.refusal(reference).replace(esplanade.__file__, "ESPLANADE") == (
        f"plugin {reference}: importing it raised {raised.format(place)}; repair the plugin or set enabled: false"
    )
    assert not [
        name
        for name in sys.modules
        if name.startswith(("esplanade_local_crm_", "esplanade_crm"))
        and getattr(sys.modules[name], "__file__", "").startswith(str(environment.base.parent))
    ]


def test_an_interrupt_is_the_operators_and_passes(environment):
    with pytest.raises(KeyboardInterrupt):
        environment.find(environment.write("raise KeyboardInterrupt"))


def test_an_entry_point_whose_module_is_missing_has_no_line_to_show(environment):
    environment.metadata("esplanade-crm", "[esplanade]\ncrm = esplanade_gone:Crm\n")

    assert environment.refusal("crm") == (
        "plugin crm: importing it raised ModuleNotFoundError: No module named 'esplanade_gone'; "
        "repair the plugin or set enabled: false"
    )


def test_an_entry_point_that_names_no_connector_is_refused(environment):
    environment.install("crm", GOOD, target="esplanade_crm:CrmSettings")
    environment.install("mail", GOOD, target="esplanade_mail")

    remedy = "is not a Connector class; write: class Name(Connector[Settings])"
    assert environment.refusal("crm") == f"plugin crm: the class CrmSettings {remedy}"
    assert environment.refusal("mail") == f"plugin mail: the module it names {remedy}"


def test_a_file_without_a_connector_is_refused(environment):
    assert environment.refusal(environment.write("from esplanade import Connector\n")) == (
        "plugin ./crm.py: defines no public Connector class; write: class Name(Connector[Settings])"
    )


def test_a_file_with_two_connectors_is_refused(environment):
    two = GOOD + "\n\nclass Mail(Crm):\n    pass\n"

    assert environment.refusal(environment.write(two)) == (
        "plugin ./crm.py: defines Crm and Mail; begin all names but one with an underscore"
    )


@pytest.mark.parametrize(
    ("before", "after", "refusal"),
    [
        (
            '    manifest = Manifest(title="Crm", vendor_api="1", owner="me", homepage="https://crm.example")\n',
            "",
            "Crm has no manifest; write: manifest = Manifest(title=…, vendor_api=…, owner=…, homepage=…)",
        ),
        (
            "    Settings = CrmSettings\n",
            "",
            "Crm has no Settings; write: Settings = CrmSettings, a frozen msgspec Struct",
        ),
        (
            "    Settings = CrmSettings\n",
            "    Settings = dict\n",
            "Crm has no Settings; write: Settings = CrmSettings, a frozen msgspec Struct",
        ),
        (
            "Struct, frozen=True",
            "Struct",
            "CrmSettings can be changed; write: class CrmSettings(Struct, frozen=True)",
        ),
        (
            "    Settings = CrmSettings\n",
            "    Settings = CrmSettings\n    Audience = ConsentTarget\n",
            "Crm.Audience is not a AudienceTarget; derive it from esplanade.AudienceTarget",
        ),
    ],
    ids=["no-manifest", "no-settings", "settings-no-struct", "settings-not-frozen", "wrong-target"],
)
def test_a_declaration_that_is_missing_or_wrong_is_refused(environment, before, after, refusal):
    assert before in HEAD
    text = GOOD.replace(before, after)

    assert environment.refusal(environment.write(text)) == f"plugin ./crm.py: {refusal}"


@pytest.mark.parametrize("core", [">=0.1,<0.2", "==0.1.0", ">=0.1.0, !=0.1.1", "<=0.1", ">0.0.9"])
def test_a_plugin_whose_core_range_is_met_loads(environment, core):
    environment.find(environment.write(GOOD.replace("owner=", f'core="{core}", owner=')))


@pytest.mark.parametrize("core", [">=0.2,<0.3", "<0.1", ">=0.1,!=0.1.0", ">0.1", "==0.1.1"])
def test_a_plugin_for_another_core_is_refused(environment, core):
    reference = environment.write(GOOD.replace("owner=", f'core="{core}", owner='))

    assert environment.refusal(reference) == (
        f"plugin ./crm.py: needs esplanade {core}, and this is 0.1.0; "
        f"install a version of the plugin that fits, or esplanade {core}"
    )


@pytest.mark.parametrize("core", ["", "0.1", "~=0.1", ">=a"])
def test_a_core_range_that_cannot_be_read_is_refused(environment, core):
    reference = environment.write(GOOD.replace("owner=", f'core="{core}", owner='))

    assert environment.refusal(reference) == (
        f"plugin ./crm.py: manifest.core is {core!r}; write a range such as '>=0.1,<0.2'"
    )


def test_a_hook_that_breaks_a_rule_is_refused_when_the_plugin_is_found(environment):
    text = plugin_source(
        textwrap.dedent("""
        async def on_profile(self, event, ctx):
            return Outcome()
    """)
    )

    assert environment.refusal(environment.write(text)) == (
        "plugin ./crm.py: on_profile is not marked as a hook; write @hookimpl above it"
    )
