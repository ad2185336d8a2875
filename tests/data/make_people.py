"""Writes people.csv beside this file: 2,048 invented people, the same bytes each time.

Every address lies in a domain that is reserved for examples (RFC 2606), so no mail can ever reach anybody.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

PEOPLE = 2_048
FILE = Path(__file__).with_name("people.csv")
COLUMNS = [
    "email",
    "id",
    "firstname",
    "lastname",
    "birthdate",
    "phone",
    "city",
    "ltv",
    "consent:newsletter",
    "consent:service",
    "audience:vip",
    "audience:churn-risk",
]


class Place(NamedTuple):
    """What people of one language are called, and where they live."""

    first: list[str]
    last: list[str]
    cities: list[str]


def place(first: str, last: str, cities: str) -> Place:
    """A place from lists that are written with bars between the names."""
    return Place(first.split("|"), last.split("|"), cities.split("|"))


DUTCH = place(
    "Noor|Daan|Sanne|Joël|Zoë|Renée|Maïté|Bram|Femke|Sjoerd|Anaïs|Lotte|Ruben|Iris|Thijs",
    "Jansen|de Vries|van den Broek|van der Berg, jr.|d'Hondt|'t Hart|in 't Veld|Coëlho|Müller-de Wit|Bakker",
    "Amsterdam|'s-Hertogenbosch|Den Haag|Súdwest-Fryslân|Bergen (NH)|Utrecht|IJmuiden|Hengelo, Overijssel",
)
CZECH = place(
    "Jiří|Řehoř|Kateřina|Eliška|Žofie|Šárka|Václav|Zdeněk|Ondřej|Anežka|Tomáš|Lukáš|Běla|Matěj|Růžena",
    "Dvořák|Nováková|Příhoda|Šťastný|Čapková|Žižka|Kučera|Říhová|Svěrák ml.|Bělohlávek",
    "Praha|Brno|Plzeň|České Budějovice|Ústí nad Labem|Hradec Králové|Frýdek-Místek|Žďár nad Sázavou",
)
GREEK = place(
    "Γιώργος|Μαρία|Νίκος|Ελένη|Κωνσταντίνος|Άννα|Δημήτρης|Σοφία|Χρήστος|Ζωή|Ηλίας|Ευαγγελία|Ιωάννης|Θεοδώρα",
    "Παπαδόπουλος|Οικονόμου|Βλάχος|Γεωργίου|Αγγελοπούλου|Μακρής|Καραγιάννη|Σταθόπουλος|Ξένου|Ψαράς",
    "Αθήνα|Θεσσαλονίκη|Πάτρα|Ηράκλειο|Ιωάννινα|Άγιος Νικόλαος|Λάρισα|Ρόδος, Δωδεκάνησα",
)
GERMAN = place(
    "Jürgen|Käthe|Björn|Günther|Lena|Felix|Jörg|Änne|Sören|Heike|Zoë|Till|Uwe|Mareike|Ömer",
    "Müller|Schäfer|Weiß|von der Höhe|Groß|Schröder|Dr. Köhler, geb. Voß|Jäger|Özdemir|Kühn-Böhm",
    "Köln|München|Würzburg|Frankfurt am Main|Halle (Saale)|Lübeck|Gießen|Berlin, Mitte",
)
ENGLISH = place(
    'Ada|Grace|Siân|Robert "Bob"|Chloë|Seán|Mary-Jane|Alan|Zoe|William "Bill"|Niamh|Oliver|Beyoncé|Tim|Dorothy',
    "O'Brien|Lovelace|Smith, Jr.|MacDonald|D'Arcy|Hopper|\"Buzz\" Wilson|St John-Smythe|Brontë|Wu",
    "London|Stratford-upon-Avon|King's Lynn|Washington, Tyne and Wear|Bury St Edmunds|Leeds|Y Fenni|Cork",
)
PLACES = [DUTCH, CZECH, GREEK, GERMAN, ENGLISH]
EMOJI = ["🌸", "🚀", "👩‍🔬", "❤️", "🇳🇱", "👍🏽"]

PLAIN_DOMAINS = ["example.com", "example.net", "example.org", "winkel.example", "obchod.example", "magazi.example"]
SUBDOMAINS = ["mail.example.com", "post.example.net", "nieuws.winkel.example", "a.b.obchod.example"]
IDN_DOMAINS = [
    "bücher.example",
    "příklad.example",
    "παράδειγμα.example",
    "coöperatie.example",
    "mail.bücher.example",
    "xn--bcher-kva.example",
]
"""The last is the first in its ASCII form: the two must be taken for one domain."""

LEAP_DAYS = [date(year, 2, 29) for year in (1936, 1948, 1960, 1964, 1972, 1980, 1988, 1996, 2000, 2004)]
GREEK_TO_LATIN = str.maketrans(
    dict(zip("αβγδεζηικλμνξοπρσςτυφω", "avgdeziiklmnxoprsstyfo", strict=True)) | {"θ": "th", "χ": "ch", "ψ": "ps"}
)


def ascii_letters(text: str) -> str:
    """A name as it is usually typed into an address: ``Řehoř`` is ``rehor``, ``O'Brien`` is ``o'brien``."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(c))
    latin = bare.replace("ß", "ss").translate(GREEK_TO_LATIN)
    return "".join(c for c in latin if c.isascii() and (c.isalnum() or c == "'"))


def letters(text: str) -> str:
    """The letters of a name in its own script, in lower case, composed."""
    return "".join(c for c in unicodedata.normalize("NFC", text.lower()) if c.isalpha())


def same(email: str) -> str:
    """What two addresses of one mailbox have in common: case folded, the domain in its readable form."""
    local, _, domain = email.rpartition("@")
    readable = domain.encode("ascii").decode("idna") if domain.isascii() else domain
    return f"{local}@{readable}".casefold()


LOCAL_PARTS: list[Callable[[str, str], str]] = [
    lambda first, last: f"{first}.{last}",
    lambda first, last: f"{first[0]}{last}",
    lambda first, last: f"{first}_{last}",
    lambda first, last: f"{last}-{first}",
    lambda first, last: f"{first}.{last}+news",
    lambda first, last: f"{first}+{last}",
    lambda first, last: f"{first}.{last}".title(),
    lambda first, last: f"{first}{last}".upper(),
]


class Crowd:
    """Draws people one after the other, the same ones each time."""

    def __init__(self) -> None:
        self.random = Random(20_260_115)
        self.taken: set[str] = set()

    def often(self, share: float) -> bool:
        return self.random.random() < share

    def maybe(self, share: float, value: Callable[[], str]) -> str:
        return value() if self.often(share) else ""

    def one(self, choices: Sequence[T]) -> T:
        return self.random.choice(choices)

    def email(self, first: str, last: str) -> str:
        spell = letters if self.often(0.03) else ascii_letters
        local = self.one(LOCAL_PARTS)(spell(first), spell(last))
        domain = self.one(self.one([PLAIN_DOMAINS, PLAIN_DOMAINS, PLAIN_DOMAINS, SUBDOMAINS, IDN_DOMAINS]))
        address, count = f"{local}@{domain}", 1
        while same(address) in self.taken:
            count += 1
            address = f"{local}{count}@{domain}"
        self.taken.add(same(address))
        return address

    def birthdate(self) -> str:
        if self.often(0.02):
            return self.one(LEAP_DAYS).isoformat()
        return (date(1925, 1, 1) + timedelta(days=self.random.randrange(84 * 365))).isoformat()

    def phone(self) -> str:
        prefix, digits = self.one([("+3160", 7), ("+420600", 6), ("+30690", 7)])
        return prefix + "".join(str(self.random.randrange(10)) for _ in range(digits))

    def ltv(self) -> str:
        return self.one(["0", f"{self.random.randrange(2_000_000) / 100:.2f}", str(self.random.randrange(1, 5_000))])

    def person(self, number: int) -> dict[str, str]:
        home = self.one(PLACES)
        first, last = self.one(home.first), self.one(home.last)
        return {
            "email": self.email(first, last),
            "id": "" if number % 10 == 0 else f"u-{number}",
            "firstname": self.maybe(0.93, lambda: f"{first} {self.one(EMOJI)}" if self.often(0.02) else first),
            "lastname": self.maybe(0.93, lambda: last),
            "birthdate": self.maybe(0.8, self.birthdate),
            "phone": self.maybe(0.7, self.phone),
            "city": self.maybe(0.85, lambda: self.one(home.cities)),
            "ltv": self.maybe(0.75, self.ltv),
            "consent:newsletter": self.random.choices(["granted", "denied", ""], [60, 15, 25])[0],
            "consent:service": self.random.choices(["granted", "denied", ""], [70, 5, 25])[0],
            "audience:vip": self.random.choices(["true", "false", ""], [10, 60, 30])[0],
            "audience:churn-risk": self.random.choices(["true", "false", ""], [15, 55, 30])[0],
        }


def people_csv() -> bytes:
    """The whole file, as UTF-8 with Unix line ends."""
    crowd = Crowd()
    text = io.StringIO(newline="")
    rows = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    rows.writeheader()
    rows.writerows(crowd.person(number) for number in range(1, PEOPLE + 1))
    return text.getvalue().encode()


if __name__ == "__main__":
    FILE.write_bytes(people_csv())
