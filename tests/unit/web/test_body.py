"""What a body may hold, and that nothing past the limit is ever held."""

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esplanade.web.body import MAX_ITEMS, Inflater, split_items
from esplanade.web.problems import Problem


def inflated(data, *, max_bytes=1_000, step=7):
    inflater = Inflater(max_bytes)
    for start in range(0, len(data), step):
        inflater.feed(data[start : start + step])
    return inflater.finish()


def refused(call, *args, **options):
    with pytest.raises(Problem) as found:
        call(*args, **options)
    return found.value.status


@given(parts=st.lists(st.binary(max_size=80), min_size=1, max_size=5), step=st.integers(1, 50))
def test_gzip_is_inflated_whatever_its_pieces_and_members(parts, step):
    assert inflated(b"".join(gzip.compress(part) for part in parts), step=step) == b"".join(parts)


@given(data=st.binary(max_size=60), step=st.integers(1, 50))
def test_what_is_no_gzip_is_a_400_and_never_an_error(data, step):
    assert refused(inflated, b"\x1f\x8b" + data, step=step) in {400, 413}


def test_a_bomb_is_stopped_at_the_limit():
    assert inflated(gzip.compress(b"x" * 1_000)) == b"x" * 1_000
    assert refused(inflated, gzip.compress(b"x" * 1_001)) == 413
    inner = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    bomb = inner.compress(b"\0" * 50_000_000) + inner.flush()
    assert refused(inflated, bomb, max_bytes=1_000_000, step=len(bomb)) == 413


def test_a_bomb_of_empty_members_is_stopped_too():
    assert refused(inflated, gzip.compress(b"") * 2_000, max_bytes=1_000_000, step=4_096) == 400


def test_a_stream_that_never_says_anything_is_stopped_too():
    silent = gzip.compress(b"")[:10] + b"\x00\x00\x00\xff\xff" * 1_000
    assert refused(inflated, silent) == 413


@given(st.lists(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=5)), max_size=6))
def test_lines_and_an_array_hold_the_same_items(items):
    texts = [json.dumps(item).encode() for item in items]
    lines = split_items(b"\n \r\n".join(texts), ndjson=True)
    array = split_items(b" [" + b" , ".join(texts) + b"] ", ndjson=False)
    assert [json.loads(bytes(each)) for each in lines] == [json.loads(bytes(each)) for each in array] == items


@pytest.mark.parametrize("item", [b"{}", b"[]", b'",[]"', b"1", b'{"a": [1, 2, {"b": "]"}]}', b" \n\t7 "])
def test_ten_thousand_items_and_not_one_more(item):
    for spare in (b"", b"," * 300_000):
        padded = b'"' + spare + b'"'
        array = b"[" + padded + (b"," + item) * (MAX_ITEMS - 1)
        assert len(split_items(array + b"]", ndjson=False)) == MAX_ITEMS
        assert refused(split_items, array + b"," + item + b"]", ndjson=False) == 413


@pytest.mark.parametrize("body", [b"[", b"[1", b"[1,]", b"[" + b"1," * 300_000, b"[" * 500_000, b"[] x"])
def test_an_array_that_cannot_be_read_is_a_400_or_too_large(body):
    assert refused(split_items, body, ndjson=False) in {400, 413}
