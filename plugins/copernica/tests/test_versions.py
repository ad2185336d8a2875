"""Versions 2, 3 and 4 of the API: the same deeds, other paths, and the token in the query up to version 3."""

import pytest

from esplanade import AuthenticationError, DeliveryError, Secret
from esplanade.testing import Fault, Furnishing
from esplanade_copernica.settings import CopernicaTrigger

from .conftest import AUDIENCES

TOKEN = "demo-api-token"
VERSIONS = pytest.mark.parametrize("version", [2, 3, 4])
OLD = pytest.mark.parametrize("version", [2, 3])


@VERSIONS
async def test_all_deeds_are_done_on_its_paths(open_hub, twin, version):
    trigger = CopernicaTrigger(route="mailing", template=77)
    twin.furnish(Furnishing(triggers={"cart": trigger}))
    async with open_hub({"fields": {"city": "City", "name": "SQ_profile.Name"}}, api_version=version) as hub:
        for city in ("Delft", "Breda"):
            outcome = await hub.profile(desired={"City": city, "SQ_profile.Name": "Noor"}, cdp_id="c-7", add=AUDIENCES)
        await hub.consent("granted", remote_id=outcome.remote_id)
        await hub.trigger(target=trigger)
        reports, _ = await hub.pull()
        assert (await hub.connector.check(hub.ctx)).status == "ok"
        assert (await hub.connector.discover(hub.ctx)).mailings
    profile = twin.find("noor@example.net")
    assert outcome.remote_id == str(profile.id)
    held = [profile.fields[name] for name in ("City", "Newsletter", "SqueezelyCustomerId")]
    assert (held, len(twin.mails)) == (["Breda", "yes", "c-7"], 1)
    assert [report.fields for report in reports] == [{"City": "Breda"}, {"SQ_profile.Name": "Noor"}]
    called = {each.path.split("/")[1] for each in twin.requests}
    assert called == {f"v{version}", *(["authenticate"] if version == 4 else [])}


@OLD
async def test_the_token_is_in_every_query_and_in_no_log_and_no_error(open_hub, twin, version, capsys):
    errors = []
    async with open_hub(api_version=version) as hub:
        await hub.profile()
        for fault in (
            Fault(status=401, body=f'{{"error": {{"message": "no access_token={TOKEN}"}}}}'),
            Fault(status=400, body=f'{{"error": {{"message": "{TOKEN} may not create a profile"}}}}'),
            Fault(status=500),
            Fault(action="cut-before"),
        ):
            twin.faults.append(fault)
            with pytest.raises(DeliveryError) as raised:
                await hub.profile(email="eve@example.net")
            errors.append(f"{raised.value!r} {raised.value.exchange!r}")
    assert all(f"access_token={TOKEN}" in each.query for each in twin.requests)
    logged = capsys.readouterr()
    assert "http request" in logged.out
    assert TOKEN not in logged.out + logged.err + " ".join(errors) + repr(hub.connector.endpoint())


@VERSIONS
async def test_a_token_that_is_refused_is_told_as_that(open_hub, version):
    async with open_hub(api_version=version, api_token=Secret("wrong")) as hub:
        result = await hub.connector.check(hub.ctx)
        assert result.status == "bad-credentials"
        assert "check the API key" in result.detail
        with pytest.raises(AuthenticationError):
            await hub.profile()


async def test_a_token_that_is_refused_with_400_is_renewed_once_and_then_told(hub, twin):
    twin.habits.refused_status = 400
    await hub.profile()
    twin.revoke_tokens()
    await hub.profile()
    twin.faults.append(Fault(status=400, body='{"error": {"message": "Invalid access token"}}', match="PUT", times=2))
    with pytest.raises(AuthenticationError):
        await hub.profile()
