"""``DELETE /v1/people/{email}``."""

import pytest

from esplanade.web.port import Certified, Erased

from .conftest import ADMIN, SHOP, problem_of, running


async def test_an_erasure_answers_with_its_certificate(hub, client):
    made = Certified(connector="webpower", result="unsupported", detail="erase contact 9001 at the vendor by hand: …")
    hub.erased = Erased(person="p-1", erased_at="2026-01-15T10:00:00.000Z", certificate=[made])
    answer = await client.delete("/v1/people/Ada.L%2Bnews%40Example.com")
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert await answer.json() == {
        "person": "p-1",
        "erased_at": "2026-01-15T10:00:00.000Z",
        "certificate": [
            {
                "connector": "webpower",
                "result": "unsupported",
                "detail": "erase contact 9001 at the vendor by hand: …",
            }
        ],
        "unread": 0,
    }
    assert hub.orders == [("erase", "Ada.L+news@Example.com")]


async def test_nobody_by_that_address_is_404(client):
    await problem_of(await client.delete("/v1/people/nobody@example.com"), 404)


async def test_what_is_no_address_is_422(client):
    assert (await problem_of(await client.delete("/v1/people/nobody"), 422))["path"] == "$.email"


async def test_an_unknown_parameter_erases_nobody(hub, client):
    await problem_of(await client.delete("/v1/people/ada@example.com?dry_run=true"), 422)
    assert hub.orders == []


@pytest.mark.parametrize("headers", [{}, SHOP])
async def test_only_operators_erase(tmp_path, headers):
    async with running(tmp_path, admin_token="admin-token") as (hub, client):
        await problem_of(await client.delete("/v1/people/ada@example.com", headers=headers), 401)
        assert hub.orders == []
        await problem_of(await client.delete("/v1/people/ada@example.com", headers=ADMIN), 404)
