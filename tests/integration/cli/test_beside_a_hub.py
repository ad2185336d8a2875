"""Commands while a hub runs: writes go through its API, reads open the store beside it."""

import asyncio
import io
import json
import signal
import sys

import aiohttp
import pytest


@pytest.fixture
async def hub(project):
    async with project.hub() as hub:
        yield hub


@pytest.fixture
def aside(esplanade):
    """Run the program on a thread of its own, while this one serves the hub."""

    async def program(*arguments):
        return await asyncio.to_thread(esplanade, *arguments)

    return program


async def test_writes_go_through_the_running_hub(project, aside, hub):
    sent = await aside("send", "profile", "--email", "ada@example.com", "--field", "firstname=Ada", "--json")
    assert (sent.code, sent.json["accepted"]) == (0, 1)
    await hub.settled()
    profile = (await aside("explain", "ada@example.com", "--json")).json["profile"]
    assert profile["connectors"]["cdp"]["base"]["fields"] == {"firstname": "Ada"}


async def test_events_of_stdin_reach_the_running_hub_with_their_refusals(aside, hub, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"email": "a@example.com"}\n{"email": "nobody"}\n')))
    sent = await aside("send", "profile", "-")
    assert sent.code == 1
    assert len(sent.out.splitlines()) == 1
    assert "item 1: $.email: not an e-mail address" in sent.err


async def test_when_nothing_is_acceptable_the_refusal_is_told_all_the_same(project, aside, hub):
    sent = await aside("send", "profile", "--email", "nobody")
    assert sent.code == 1
    assert "$.email: not an e-mail address" in sent.err


async def test_pause_and_resume_take_hold_at_once(project, aside, hub):
    await aside("pause", "crm")
    assert hub.connections["crm"].outbound.paused
    states = {one["name"]: one["state"] for one in (await aside("connectors", "--json")).json["connectors"]}
    assert states == {"crm": "paused", "cdp": "ok"}
    await aside("resume", "crm")
    assert not hub.connections["crm"].outbound.paused


async def test_pull_discover_and_check_ask_the_hub(project, aside, hub):
    assert (await aside("pull", "crm", "--json")).json["read"] == 1
    assert "FIRST_NAME" in (await aside("discover", "crm")).out
    assert (await aside("check", "--online")).code == 0
    refused = await aside("pull", "cdp")
    assert refused.code == 1
    assert refused.err.splitlines()[-1] == "esplanade: cdp cannot be pulled: the plugin webhook has no pull"
    refused = await aside("discover", "cdp")
    assert refused.err == "esplanade: cdp cannot be discovered: the plugin webhook has no discover\n"


async def test_webhooks_are_registered_by_the_hub_that_runs(project, aside, hub):
    made = await aside("webhooks", "crm", "--json")
    assert made.json == {"kept": [], "made": ["update"], "mended": [], "removed": []}
    key = f"/hooks/crm/{hub.hook_keys()['crm']}"
    kept = await hub.store.read(lambda reader: reader.value("crm", "url"))
    assert kept == f"http://127.0.0.1:8600{key}"
    assert key not in made.out
    removed = await aside("webhooks", "crm", "--remove")
    assert removed.out.splitlines()[-1].split() == ["update", "removed"]
    refused = await aside("webhooks", "cdp")
    assert refused.code == 1
    assert refused.err.startswith("esplanade: cdp cannot register webhooks: the plugin webhook has no")


async def test_an_import_goes_through_the_running_hub(project, aside, hub):
    rows = "".join(f"p{number}@example.com,{number}\n" for number in range(600))
    people = project.write("people.csv", f"email,city\n{rows}nobody,x\n")
    ended = await aside("import", str(people), "--json")
    assert ended.json == {"rows": 601, "accepted": 600, "rejected": 1, "rejected_file": f"{people}.rejected.csv"}
    await hub.settled()
    assert len(hub.connections["cdp"].twin.people) == 600


async def test_replay_goes_through_the_running_hub(project, aside, hub):
    await aside("send", "profile", "--email", "refused@example.com", "--field", "firstname=No")
    await hub.settled()
    assert (await aside("replay", "--connector", "crm", "--since", "1h", "--json")).json == {"replayed": 1}
    assert (await aside("replay", "--connector", "crm", "--until", "1h", "--json")).json == {"replayed": 0}
    missing = await aside("replay", "--id", "d-99999")
    assert (missing.code, missing.err) == (1, "esplanade: there is no delivery d-99999\n")


async def test_what_is_no_address_is_usage_and_no_answer_of_the_hub(project, aside, hub):
    for command in (["person", "erase"], ["explain"]):
        ended = await aside(*command, "nonsense")
        assert ended.code == 2
        assert "'nonsense': not an e-mail address" in ended.err
        assert "the hub at" not in ended.err


async def test_another_admin_token_is_refused_with_the_remedy(project, aside, hub):
    project.config.write_text(project.config.read_text().replace("an-admin-token-of-tests", "another-admin-token-1"))
    ended = await aside("pause", "crm")
    assert ended.code == 1
    assert "it runs with another token" in ended.err


async def test_a_second_hub_on_the_store_is_refused_with_its_holder(project, aside, hub):
    ended = await aside("run")
    assert ended.code == 1
    assert f"(esplanade run on {hub.url})" in ended.err
    assert not ended.out


async def test_a_busy_port_is_refused_with_its_holder(project, aside, hub):
    other = project.write(
        "other.yaml", f"hub: {{listen: '{hub.url.removeprefix('http://')}', store: 'sqlite:other.db'}}"
    )
    ended = await aside("--config", str(other), "run")
    assert ended.code == 1
    assert "address already in use" in ended.err
    assert "It is held by process " in ended.err


async def test_a_store_held_by_another_command_names_it(project, aside):
    async with project.hub(listen=False, deliver=False):
        written = await aside("pause", "crm")
        assert written.code == 1
        assert "(an esplanade command), which takes no requests" in written.err
        assert (await aside("connectors")).code == 0


# run


async def _heard(process, words):
    """Read stderr until a line has these words; returns that line."""
    async with asyncio.timeout(30):
        while line := (await process.stderr.readline()).decode():
            if words in line:
                return line
    raise AssertionError(f"it ended without saying {words!r}")


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_run_says_where_it_answers_and_ends_when_told(project, stop, code):
    process = await project.start("run")
    url = (await _heard(process, "answers at")).split()[-1]
    assert "hears at" in await _heard(process, "crm (./crm.py")
    assert url.startswith("http://127.0.0.1:")
    process.send_signal(stop)
    out, err = await process.communicate()
    assert process.returncode == code, err
    assert out == b""
    assert b'"event": "draining"' in err


# import, interrupted


async def test_ctrl_c_is_exit_130_and_the_next_run_takes_the_rest_once(project, aside):
    lines = "".join(f'{{"email": "p{number}@example.com"}}\n' for number in range(700))
    people = project.write("people.ndjson", lines)
    async with project.hub() as hub:
        waiting, room = asyncio.Event(), asyncio.Event()

        async def no_room():
            if waiting.is_set():
                await room.wait()
            waiting.set()

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(hub.intake, "wait_for_room", no_room)
            process = await project.start("import", str(people))
            await waiting.wait()
            assert b"import: " in await process.stderr.readline()
            process.send_signal(signal.SIGINT)
            _, err = await process.communicate()
        assert (process.returncode, err.strip()) == (130, b"")
        room.set()
        ended = await aside("import", str(people), "--json")
        assert ended.json["accepted"] == 700
        await hub.settled()
        assert len(hub.connections["cdp"].twin.people) == 700


# twin


async def test_a_twin_prints_where_it_is_and_stops_when_told(project):
    process = await project.start("twin", "webhook")
    said = json.loads(await process.stdout.readline())
    assert said["twin"] == "webhook"
    assert said["base_url"].startswith("http://127.0.0.1:")
    port = said["base_url"].rpartition(":")[2]
    busy = await project.apart("twin", "cdp", "--port", port)
    assert busy.code == 1
    assert f"cannot listen on 127.0.0.1:{port}: is in use by process {process.pid}" in busy.err
    process.terminate()
    out, _ = await process.communicate()
    assert (process.returncode, out) == (0, b"")


async def test_a_twin_takes_scripted_faults(project):
    faults = project.write("faults.json", '[{"match": "POST", "status": 418}]')
    process = await project.start("twin", "webhook", "--faults", str(faults))
    url = json.loads(await process.stdout.readline())["base_url"]
    async with aiohttp.ClientSession() as client, client.post(f"{url}/hooks") as answer:
        assert answer.status == 418
    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert process.returncode == 130


def test_faults_that_cannot_be_read_are_named(project, esplanade):
    wrong = project.write("faults.json", '[{"mtach": "x"}]')
    ended = esplanade("twin", "webhook", "--faults", str(wrong))
    assert ended.code == 1
    assert "mtach" in ended.err
    assert esplanade("twin", "webhook", "--faults", "none.json").code == 1


# streams


async def test_a_reader_that_goes_away_is_no_traceback(project):
    command = f"{sys.executable} -m esplanade.cli schema | head -n 1"
    process = await asyncio.create_subprocess_shell(
        command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=project.environment()
    )
    out, err = await process.communicate()
    assert out == b"{\n"
    assert err == b""
