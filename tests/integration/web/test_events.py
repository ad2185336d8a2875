"""Events in: what is taken, what is turned away and with which status, and what a repeat is told."""

import asyncio
import gzip
import io
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esplanade.ingest.accept import MAX_BACKLOG

from .conftest import SHOP, TILL, problem_of, running

ADA = {"email": "ada@example.com"}
PATH = {"profile": "/v1/profiles", "consent": "/v1/consents", "trigger": "/v1/triggers"}


async def post(client, body, path="/v1/profiles", headers=SHOP, content_type="application/json", **more):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await client.post(path, data=io.BytesIO(data), headers={"Content-Type": content_type, **headers, **more})


async def test_one_object_is_taken_once_it_is_in_the_journal(hub, client):
    answer = await post(client, {**ADA, "event_id": "1"})
    assert answer.status == 202
    content = await answer.json()
    assert content == {"accepted": 1, "ids": content["ids"], "rejected": []}
    (entry,) = await hub.journal()
    assert [entry.id] == content["ids"]
    assert (entry.kind, entry.origin, entry.dedupe) == ("profile", "shop", True)
    assert hub.intake.unfolded == 1


@pytest.mark.parametrize(
    ("path", "item"),
    [
        ("/v1/profiles", {"id": "u-1"}),
        ("/v1/consents", {**ADA, "purpose": "newsletter", "state": "granted"}),
        ("/v1/triggers", {**ADA, "trigger": "abandoned-cart", "data": {"cart_id": "C-77"}}),
    ],
)
async def test_each_kind_has_its_address(hub, client, path, item):
    assert (await post(client, item, path)).status == 202
    (entry,) = await hub.journal()
    assert PATH[entry.kind] == path


@pytest.mark.parametrize("content_type", ["application/x-ndjson", "application/x-ndjson; charset=utf-8"])
async def test_lines_are_taken_and_blank_ones_skipped(hub, client, content_type):
    line = json.dumps(ADA).encode()
    answer = await post(client, b"\n\r\n" + line + b"\r\n  \n\n" + line + b"\n{oops\n", content_type=content_type)
    content = await answer.json()
    assert answer.status == 202
    assert content["accepted"] == 2
    assert [(each["index"], each["path"]) for each in content["rejected"]] == [(2, "$")]


async def test_an_array_is_taken_item_by_item(client):
    answer = await post(client, [ADA, {"email": "x"}, {**ADA, "fields": {"ltv": {}}}, ADA])
    content = await answer.json()
    assert answer.status == 202
    assert content["accepted"] == len(content["ids"]) == 2
    assert [(each["index"], each["path"]) for each in content["rejected"]] == [(1, "$.email"), (2, "$.fields.ltv")]


async def test_nothing_to_take_is_fine(hub, client):
    for body, content_type in [(b"[]", "application/json"), (b"", "application/x-ndjson")]:
        answer = await post(client, body, content_type=content_type)
        assert answer.status == 202
        assert await answer.json() == {"accepted": 0, "ids": [], "rejected": []}
    assert await hub.journal() == []


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
async def test_gzip_is_inflated(hub, client, encoding):
    body = json.dumps([ADA, ADA]).encode()
    halves = gzip.compress(body[:10]) + gzip.compress(body[10:])
    answer = await post(client, halves, **{"Content-Encoding": encoding})
    assert answer.status == 202
    assert len(await hub.journal()) == 2


async def test_a_body_without_a_type_is_read_as_json(client):
    answer = await client.post(
        "/v1/profiles", data=json.dumps(ADA).encode(), headers=SHOP, skip_auto_headers=["Content-Type"]
    )
    assert answer.status == 202


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer"}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic shop-token"},
     {"Authorization": "Bearer \u00e9"}],
)  # fmt: skip
async def test_401_without_a_token_that_is_known(client, headers):
    answer = await post(client, ADA, headers=headers)
    await problem_of(answer, 401)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("said", ["bearer shop-token", "BEARER  shop-token", "Bearer shop-token "])
async def test_the_scheme_of_a_token_may_be_written_otherwise(client, said):
    assert (await post(client, ADA, headers={"Authorization": said})).status == 202


async def test_403_when_the_source_may_not(client):
    problem = await problem_of(await post(client, {**ADA, "trigger": "x"}, "/v1/triggers", TILL), 403)
    assert "trigger" in problem["detail"]


async def test_consents_in_a_profile_need_the_right_of_the_source(client):
    item = {**ADA, "consents": {"newsletter": "granted"}}
    problem = await problem_of(await post(client, item, headers=TILL), 422)
    assert problem["rejected"][0]["path"] == "$.consents"


@pytest.mark.parametrize(
    ("length", "body"),
    [
        ("Content-Length: 27", b'{"email":"ada@example.com"}'),
        ("Transfer-Encoding: chunked", b'1a\r\n{"email":"ada@example.com"\r\n1\r\n}\r\n0\r\n\r\n'),
    ],
)
async def test_a_body_may_come_after_its_headers(hub, length, body):
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    head = f"POST /v1/profiles HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer shop-token\r\n{length}\r\n"
    writer.write(f"{head}Expect: 100-continue\r\n\r\n".encode())
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await reader.readuntil(b"\r\n")).split()[1] == b"202"
    writer.close()
    await writer.wait_closed()
    assert len(await hub.journal()) == 1


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1,", b"nope", b"\xff", b'"\xff"', b"[" * 200_000, b'{"email":"a@b.nl"} x', b"\xef\xbb\xbf{}"]
)
async def test_400_for_what_cannot_be_read(client, body):
    await problem_of(await post(client, body), 400)


async def test_400_when_not_one_line_can_be_read(client):
    await problem_of(await post(client, b"{\nnope\n", content_type="application/x-ndjson"), 400)


async def test_400_for_gzip_that_is_none_or_cut(client):
    await problem_of(await post(client, b"{}", **{"Content-Encoding": "gzip"}), 400)
    cut = gzip.compress(json.dumps(ADA).encode())[:-4]
    await problem_of(await post(client, cut, **{"Content-Encoding": "gzip"}), 400)


async def test_422_when_nothing_was_acceptable(hub, client):
    problem = await problem_of(await post(client, [{"email": "x"}, 3]), 422)
    assert [each["index"] for each in problem["rejected"]] == [0, 1]
    assert problem["accepted"] == 0
    assert await hub.journal() == []


async def test_413_over_ten_mebibytes(client):
    await problem_of(await post(client, b'{"email":"' + b"a" * (10 * 1024 * 1024) + b'"}'), 413)


async def test_413_when_the_length_is_not_told(client):
    async def endless():
        while True:
            yield b" " * 65_536

    answer = await client.post("/v1/profiles", data=endless(), headers={**SHOP, "Content-Type": "application/json"})
    await problem_of(answer, 413)


async def test_413_counts_after_inflating(client):
    bomb = gzip.compress(b" " * (11 * 1024 * 1024))
    assert len(bomb) < 20_000
    await problem_of(await post(client, bomb, **{"Content-Encoding": "gzip"}), 413)


async def test_exactly_ten_mebibytes_and_ten_thousand_items_are_taken(hub, client):
    line = json.dumps(ADA).encode()
    body = b"[" + b",".join([line] * 10_000) + b"]"
    answer = await post(client, body + b" " * (10 * 1024 * 1024 - len(body)))
    assert answer.status == 202
    assert (await answer.json())["accepted"] == 10_000


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"[" + b",".join([b"{}"] * 10_001) + b"]", "application/json"),
        (b"[" + b"1," * 1_000_000 + b"1]", "application/json"),
        (b"{}\n" * 10_001, "application/x-ndjson"),
        (b"1\n\n" * 1_000_000, "application/x-ndjson"),
    ],
)
async def test_413_over_ten_thousand_items(client, body, content_type):
    await problem_of(await post(client, body, content_type=content_type), 413)


async def test_a_dense_array_of_few_items_is_no_bomb(client):
    item = {**ADA, "fields": {"tags": [1] * 300_000}}
    assert (await post(client, [item, item])).status == 202


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "text/plain"},
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": "application/json; charset=utf-16"},
        {"Content-Encoding": "br"},
        {"Content-Encoding": "gzip, gzip"},
        {"Content-Encoding": "deflate"},
    ],
)
async def test_415_for_other_types_and_encodings(client, headers):
    await problem_of(await post(client, ADA, **headers), 415)


async def test_503_when_the_fold_falls_behind(hub, client):
    hub.intake.added(MAX_BACKLOG + 1)
    answer = await post(client, ADA)
    await problem_of(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0
    hub.intake.folded(1)
    assert (await post(client, ADA)).status == 202


async def test_503_storage_full_when_the_disk_is(hub, client):
    hub.store.full = True
    answer = await post(client, ADA, **{"Idempotency-Key": "k"})
    assert (await problem_of(answer, 503))["type"] == "storage-full"
    assert "Retry-After" in answer.headers
    hub.store.full = False
    assert (await post(client, ADA, **{"Idempotency-Key": "k"})).status == 202


# Idempotency-Key


async def test_the_same_key_and_body_get_the_same_answer_and_count_once(hub, client):
    first = await post(client, [ADA, {}], **{"Idempotency-Key": '"k-1"'})
    again = await post(client, [ADA, {}], **{"Idempotency-Key": "k-1"})
    assert (first.status, await first.read()) == (again.status, await again.read())
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(await hub.journal()) == 1


async def test_a_refusal_is_repeated_too(client):
    for _ in range(2):
        answer = await post(client, {}, **{"Idempotency-Key": "k"})
        assert (await problem_of(answer, 422))["rejected"][0]["path"] == "$.email"


async def test_the_same_key_with_another_body_is_422(hub, client):
    await post(client, ADA, **{"Idempotency-Key": "k"})
    answer = await post(client, {"email": "bob@example.com"}, **{"Idempotency-Key": "k"})
    assert (await problem_of(answer, 422))["type"] == "idempotency-key-reused"
    item = {**ADA, "purpose": "p", "state": "granted"}
    await problem_of(await post(client, item, "/v1/consents", **{"Idempotency-Key": "k"}), 422)
    assert len(await hub.journal()) == 1


async def test_two_sources_may_use_the_same_key(hub, client):
    for headers in (SHOP, TILL):
        assert (await post(client, ADA, headers=headers, **{"Idempotency-Key": "k"})).status == 202
    assert len(await hub.journal()) == 2


async def test_409_while_the_first_still_runs(hub, client):
    hub.store.gate.clear()
    first = asyncio.create_task(post(client, ADA, **{"Idempotency-Key": "k"}))
    await hub.store.entered.wait()
    await problem_of(await post(client, ADA, **{"Idempotency-Key": "k"}), 409)
    hub.store.gate.set()
    assert (await first).status == 202
    assert (await post(client, ADA, **{"Idempotency-Key": "k"})).status == 202
    assert len(await hub.journal()) == 1


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "a\tb"])
async def test_400_for_a_key_that_is_none(client, key):
    await problem_of(await post(client, ADA, **{"Idempotency-Key": key}), 400)


async def test_new_tokens_count_at_once_when_the_file_is_read_again(hub, client):
    assert (await post(client, ADA)).status == 202
    source = msgspec.structs.replace(hub.config.sources["shop"], token=hub.config.sources["till"].token)
    hub.config = msgspec.structs.replace(hub.config, sources={"shop": source})
    await problem_of(await post(client, ADA), 401)
    assert (await post(client, ADA, headers=TILL)).status == 202


# Whatever comes in

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
ITEM = JSON | st.fixed_dictionaries(
    {"email": st.sampled_from(["ada@example.com", "x", None])},
    optional={"fields": JSON, "at": JSON, "purpose": JSON, "state": st.just("granted"), "trigger": JSON, "data": JSON},
)


def test_no_body_breaks_the_hub_and_every_item_is_accounted_for(tmp_path):
    with asyncio.Runner() as runner:
        around = running(tmp_path)
        _, client = runner.run(around.__aenter__())

        async def sent(body, path, content_type, headers):
            answer = await post(client, body, path, content_type=content_type, **headers)
            return answer.status, answer.content_type, await answer.read()

        @settings(max_examples=150, deadline=None)
        @given(
            items=st.lists(ITEM, max_size=4),
            path=st.sampled_from(sorted(PATH.values())),
            lines=st.booleans(),
            zipped=st.booleans(),
        )
        def any_items(items, path, lines, zipped):
            texts = [json.dumps(item) for item in items]
            body = ("\n".join(texts) if lines else f"[{','.join(texts)}]").encode()
            headers = {"Content-Encoding": "gzip"} if zipped else {}
            content_type = "application/x-ndjson" if lines else "application/json"
            status, _, answer = runner.run(sent(gzip.compress(body) if zipped else body, path, content_type, headers))
            assert status in {202, 400, 422}
            if status != 400:
                content = msgspec.json.decode(answer)
                assert content["accepted"] == len(content["ids"])
                assert content["accepted"] + len(content["rejected"]) == len(items)

        @settings(max_examples=150, deadline=None)
        @given(
            body=st.binary(max_size=200),
            path=st.sampled_from(sorted(PATH.values())),
            content_type=st.sampled_from(
                ["application/json", "application/x-ndjson", "text/html", "application/json;;="]
            ),
            encoding=st.sampled_from(["", "gzip", "br"]),
        )
        def any_bytes(body, path, content_type, encoding):
            headers = {"Content-Encoding": encoding} if encoding else {}
            status, found_type, _ = runner.run(sent(body, path, content_type, headers))
            assert status in {202, 400, 415, 422}
            assert found_type == "application/json" if status == 202 else "application/problem+json"

        try:
            any_items()
            any_bytes()
        finally:
            runner.run(around.__aexit__(None, None, None))
