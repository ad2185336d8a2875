"""However a vendor writes a person's address, what the core would read is found, and is found worth a look before."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from esplanade.store.words import Finder, Words

ADDRESS = "ada.l@mail.example"
ADA = Finder(Words.of([ADDRESS], ["u-77"], [("crm", "9001")]))

XML = ["{}", "&#{0};", "&#x{0:x};", "&#x0{0:X};"]
JSON = ["{}", "\\u{0:04x}", "\\u{0:04X}"]
FORM = ["{}", "%{0:02x}", "%{0:02X}"]
BETWEEN = ["", "", "", "<b/>", "<b>z</b>", "<!-- a>b -->", "<?c > ?>", "<b x='>'/>", "<b ></b >", "<![CDATA[]]>"]
WITHIN = ["", "", "", "]]><![CDATA[", "]]><!-- --><![CDATA[", "]]><b/><![CDATA[", "]]><b><![CDATA[z]]></b><![CDATA["]
CHARSETS = ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "iso-8859-1", "cp037"]


@st.composite
def spelt(draw, forms, between=("",)):
    """The address, each sign of it written in one of these forms, with one of these behind it."""
    signs = draw(st.lists(st.sampled_from(forms), min_size=len(ADDRESS), max_size=len(ADDRESS)))
    gaps = draw(st.lists(st.sampled_from(between), min_size=len(ADDRESS), max_size=len(ADDRESS)))
    written = [each if form == "{}" else form.format(ord(each)) for each, form in zip(ADDRESS, signs, strict=True)]
    return "".join(sign + gap for sign, gap in zip(written, gaps, strict=True))


BODIES = st.one_of(
    spelt(XML, BETWEEN).map("<r><e>{}</e><n>é</n></r>".format),
    spelt(["{}"], WITHIN).map("<r><e><![CDATA[{}]]></e></r>".format),
    spelt(JSON).map('{{"e": "{}", "n": "é"}}'.format),
    spelt(FORM).map("n=%C3%A9&e={}".format),
)


@given(BODIES, st.sampled_from(CHARSETS))
def test_an_address_is_found_however_a_body_spells_it(body, charset):
    headers = {"content-type": f"text/plain; charset={charset}"}
    webhook = {"method": "POST", "headers": headers, "body": body.encode(charset)}
    assert ADA.addressed(webhook)
    assert ADA.alone(webhook)
    assert ADA.may_hold(msgspec.msgpack.encode(webhook))
