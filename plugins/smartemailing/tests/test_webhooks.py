"""What a call of the vendor says: whom it is about and what happened, in whatever shape; and whether it is the vendor's at all."""

import base64
import json
import string
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esplanade import BodyPath, InboundRequest, PermanentError, Secret
from esplanade_smartemailing.settings import BasicAuth
from esplanade_smartemailing.webhooks import Call, Named, read, why_not

from .conftest import ADA
from .test_settings import settings

PLAIN = settings()
EVE = "eve@example.com"
JSON = {"content-type": "application/json"}


def request(body=b"", query="", headers=None):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return InboundRequest(
        method="POST", query=query, headers=headers or {}, body=raw, received_at=datetime(2026, 1, 15, tzinfo=UTC)
    )


class TestWhomItIsAbout:
    @pytest.mark.parametrize(
        "body",
        [
            {"emailaddress": ADA, "contact_id": 7},
            {"email": ADA, "contact_id": "7"},
            {"email": ADA, "contact_id": 7, "id": 555},
            {"data": {"emailaddress": ADA, "contact_id": 7}},
            {"id": 555, "data": {"emailaddress": ADA, "contact_id": 7}},
            {"data": [{"emailaddress": ADA, "contact_id": 7}]},
            [{"emailaddress": ADA, "contact_id": 7}],
            urlencode({"emailaddress": ADA, "contact_id": 7}).encode(),
        ],
    )
    def test_one_contact_in_any_of_the_shapes(self, body):
        assert read(request(body), PLAIN).people == [Named(email=ADA, contact="7")]

    @pytest.mark.parametrize(
        "rows",
        [
            [{"emailaddress": ADA, "contact_id": 7}, {"emailaddress": EVE, "contact_id": 8}],
            [{"emailaddress": ADA, "contact_id": 7}, {"emailaddress": EVE, "contact_id": 8}] * 2,
        ],
    )
    @pytest.mark.parametrize("wrap", [lambda rows: rows, lambda rows: {"data": rows}])
    def test_several_contacts_each_once(self, rows, wrap):
        assert read(request(wrap(rows)), PLAIN).people == [
            Named(email=ADA, contact="7"),
            Named(email=EVE, contact="8"),
        ]

    def test_of_several_each_is_named_by_what_there_is(self):
        body = {"data": [{"emailaddress": ADA}, {"contact_id": 8}, {"emailaddress": EVE, "contact_id": 9}, {}]}
        assert read(request(body), PLAIN).people == [
            Named(email=ADA),
            Named(contact="8"),
            Named(email=EVE, contact="9"),
        ]

    @pytest.mark.parametrize(
        "body",
        [
            {"emailaddress": ADA, "id": 555},
            {"contact": {"emailaddress": ADA, "id": 555}},
            [{"emailaddress": ADA, "id": 555}],
            {"id": 555, "data": {"emailaddress": ADA}},
        ],
    )
    def test_beside_an_address_a_bare_id_may_be_another_things(self, body):
        assert read(request(body), PLAIN).people == [Named(email=ADA)]

    def test_of_several_a_bare_id_names_those_without_an_address(self):
        assert read(request([{"emailaddress": ADA, "id": 555}, {"id": 8}]), PLAIN).people == [
            Named(email=ADA),
            Named(contact="8"),
        ]

    def test_an_operator_may_name_a_place_that_counts_beside_an_address(self):
        changed = settings(webhook_contact_id_paths=[BodyPath("who.contact_id"), BodyPath("data[0].id")])
        body = {"who": {"contact_id": 7}, "emailaddress": ADA}
        assert read(request(body), changed).people == [Named(email=ADA, contact="7")]
        rows = {"data": [{"emailaddress": ADA, "id": 555}, {"id": 8}]}
        assert read(request(rows), changed).people == [Named(email=ADA), Named(contact="8")]

    def test_an_id_that_is_not_said_of_each_of_several_is_nobodys(self):
        body = {"id": 555, "data": [{"emailaddress": ADA}, {"emailaddress": EVE}]}
        assert read(request(body), PLAIN).people == [Named(email=ADA), Named(email=EVE)]

    @pytest.mark.parametrize(
        "body", [{"contact_id": 7}, {"id": "7"}, {"contact": {"id": 7}}, {"data": [{"contact_id": 7}]}]
    )
    def test_an_id_alone_is_enough(self, body):
        assert read(request(body), PLAIN).people == [Named(contact="7")]

    @pytest.mark.parametrize("number", [0, -7, "7a", True, 7.5, "٧", "9" * 19, None, [7]])
    def test_what_is_no_id_is_none(self, number):
        with pytest.raises(PermanentError, match="names no contact"):
            read(request({"contact_id": number}), PLAIN)

    def test_the_query_may_name_them_too(self):
        assert read(request(query=f"emailaddress={ADA}&k=x"), PLAIN).people == [Named(email=ADA)]

    def test_an_operator_may_put_the_address_anywhere(self):
        changed = settings(webhook_email_paths=[BodyPath("people[0].who.mail")], webhook_contact_id_paths=[])
        body = {"people": [{"who": {"mail": ADA}}, {"who": {"mail": EVE}}, {"who": 7}]}
        assert read(request(body), changed).people == [Named(email=ADA), Named(email=EVE)]

    def test_a_path_to_a_list_of_addresses(self):
        changed = settings(webhook_email_paths=[BodyPath("emails[0]")], webhook_contact_id_paths=[])
        assert read(request({"emails": [ADA, EVE]}), changed).people == [Named(email=ADA), Named(email=EVE)]

    def test_the_only_address_that_there_is_anywhere_is_it(self):
        assert read(
            request(b"Hello, ada@example.com has clicked", headers={"content-type": "text/plain"}), PLAIN
        ) == Call(event="", people=[Named(email=ADA)], data={})

    @pytest.mark.parametrize(
        "body", [b"", b"[]", b"{}", {"note": "nobody"}, {"a": ADA, "b": EVE}, b"\xff\xfe", b'{"a":', [1, None, []]]
    )
    def test_where_nobody_can_be_told_the_remedy_is(self, body):
        with pytest.raises(PermanentError) as why:
            read(request(body, headers=JSON), PLAIN)
        assert ADA not in str(why.value)


class TestWhatHappened:
    @pytest.mark.parametrize(
        ("body", "query", "event"),
        [
            ({"event": "other"}, "event_name=new_contact", "new_contact"),
            ({"event": "new_contact"}, "", "new_contact"),
            ({"event_name": "new_contact"}, "event_name=", "new_contact"),
            ({"event": {"deep": ADA}}, "", ""),
            ({}, "event_name=a&event_name=b", ""),
        ],
    )
    def test_the_hubs_own_url_says_before_the_body_does(self, body, query, event):
        assert read(request({**body, "emailaddress": ADA}, query), PLAIN).event == event

    @pytest.mark.parametrize(
        ("event", "is_change"),
        [
            *(
                (each, True)
                for each in ("", "new_contact", "updated_contact", "unsubscribed_contact", "delivery_status")
            ),
            *((each, False) for each in ("sent_email", "scoring_result_changed", "link_clicked", "meiro_open")),
        ],
    )
    def test_what_the_contact_itself_tells_is_a_change_and_the_rest_happened(self, event, is_change):
        assert read(request({"event": event, "emailaddress": ADA}), PLAIN).is_change == is_change

    @pytest.mark.parametrize("event", ["newsletter_sending_started", "newsletter_sending_finished"])
    def test_of_a_newsletter_nobody_in_particular_is_told(self, event):
        assert read(request({"newsletter_id": 9}, f"event_name={event}"), PLAIN).people == []

    def test_what_else_it_says_goes_along_and_no_address_does(self):
        body = {
            "event": "link_clicked",
            "event_name": "x",
            "emailaddress": ADA,
            "url": "https://shop.example",
            "n": 7,
            "others": [{"email": EVE}],
            "deep": {"of": [EVE]},
            f"by {EVE}": 1,
            "tags": ["a"],
        }
        assert read(request(body), PLAIN).data == {"url": "https://shop.example", "n": 7, "tags": ["a"]}

    def test_of_a_list_nothing_goes_along(self):
        assert read(request([{"emailaddress": ADA, "n": 7}]), PLAIN).data == {}


class TestWhetherItIsTheVendors:
    BOTH = settings(
        webhook_shared_secret=Secret("s3cr3t&€"), basic_auth=BasicAuth(login="hub", password=Secret("p:wörd"))
    )
    QUERY = urlencode({"event_name": "new_contact", "k": "s3cr3t&€"})

    def auth(self, login="hub", password="p:wörd", scheme="Basic"):
        return {"authorization": f"{scheme} {base64.b64encode(f'{login}:{password}'.encode()).decode()}"}

    def test_with_both_it_is(self):
        assert why_not(request(query=self.QUERY, headers=self.auth()), self.BOTH) is None
        assert why_not(request(query=self.QUERY, headers=self.auth(scheme="basic")), self.BOTH) is None

    @pytest.mark.parametrize(
        "query", ["", "k=", "k=s3cr3t", "k=s3cr3t%26%E2%82%AC&k=x", "K=s3cr3t%26%E2%82%AC", "k=%FF%FE", "k=€"]
    )
    def test_without_the_secret_it_is_not(self, query):
        why = why_not(request(query=query, headers=self.auth()), self.BOTH)
        assert why == "the parameter k of its URL is not webhook_shared_secret"

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"authorization": ""},
            {"authorization": "Basic"},
            {"authorization": "Basic !!"},
            {"authorization": "Basic é"},
            {"authorization": "Basic /w=="},
            {"authorization": "Bearer aHViOnA="},
        ],
    )
    def test_without_the_credentials_it_is_not(self, headers):
        why = why_not(request(query=self.QUERY, headers=headers), self.BOTH)
        assert why == "its HTTP Basic credentials are not those of basic_auth"

    @pytest.mark.parametrize(
        "said", [{"login": "other"}, {"password": "p"}, {"password": "p:wördy"}, {"scheme": "Digest"}]
    )
    def test_with_others_it_is_not(self, said):
        assert why_not(request(query=self.QUERY, headers=self.auth(**said)), self.BOTH) is not None

    def test_only_what_the_settings_ask_for_is_looked_at(self):
        assert why_not(request(), PLAIN) is None
        secret = settings(webhook_shared_secret=Secret("s"))
        assert why_not(request(query="k=s"), secret) is None
        basic = settings(basic_auth=BasicAuth(login="hub", password=Secret("p:wörd")))
        assert why_not(request(headers=self.auth()), basic) is None

    def test_secrets_are_compared_in_constant_time(self, monkeypatch):
        compared = []
        monkeypatch.setattr(
            "esplanade_smartemailing.webhooks.same", lambda one, other: compared.append((one, other)) is None
        )
        assert why_not(request(query="k=x", headers=self.auth("who", "what")), self.BOTH) is None
        assert compared == [("x", "s3cr3t&€"), ("who", "hub"), ("what", "p:wörd")]

    async def test_a_refusal_is_logged_without_what_was_said(self, plugin, capsys):
        assert not await plugin.connector.verify(request(query="k=guessed"), plugin.ctx)
        logged = capsys.readouterr().out
        assert "webhook_shared_secret" in logged
        assert "guessed" not in logged
        headers = {"authorization": "Basic aHViOmRlbW8tcGFzc3dvcmQtb2Ytd2ViaG9va3M="}
        good = request(query="k=demo-secret-of-webhooks", headers=headers)
        assert await plugin.connector.verify(good, plugin.ctx)


words = st.sampled_from([ADA, EVE, "emailaddress", "contact_id", "event", "data", "new_contact", "7", ""]) | st.text(
    max_size=20
)
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)
types = st.sampled_from(
    ["", "application/json", "application/x-www-form-urlencoded", "text/xml", "text/plain; charset=x"]
)
paths = st.lists(
    st.sampled_from(["data[0]", "a", "[0]", "data[0].a[0]", "emailaddress"]), min_size=1, max_size=3, unique=True
)


class TestWhateverComes:
    @given(
        st.binary(max_size=200) | trees.map(lambda tree: json.dumps(tree).encode()),
        words | st.text(string.printable, max_size=60),
        types | st.text(max_size=20),
        paths,
    )
    def test_it_is_read_or_refused_and_nothing_else(self, body, query, content_type, said):
        changed = settings(webhook_email_paths=[BodyPath(each) for each in said])
        for each in (PLAIN, changed):
            try:
                call = read(request(body, query, {"content-type": content_type}), each)
            except PermanentError:
                continue
            assert isinstance(call, Call)
            assert isinstance(call.event, str)
            assert all(person.email or person.contact for person in call.people)

    @given(st.text(max_size=60), st.text(max_size=60))
    def test_it_is_the_vendors_or_not_and_nothing_else(self, query, authorization):
        both = TestWhetherItIsTheVendors.BOTH
        assert why_not(request(query=query, headers={"authorization": authorization}), both) is not None
