"""The rules that a plugin is held to, by id, with the tier that needs them."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from msgspec import Struct

Tier: TypeAlias = Literal["bronze", "silver", "gold", "platinum"]
"""bronze: may be listed. silver: safe to run. gold: fully featured. platinum: exemplary."""
TIERS: tuple[Tier, ...] = get_args(Tier)


class Rule(Struct, frozen=True):
    """One rule, in one sentence."""

    id: str
    tier: Tier
    words: str


_LETTERS: dict[str, Tier] = {"B": "bronze", "S": "silver", "G": "gold", "P": "platinum"}
_TABLE = """
PK1 B It installs beside the core and the other plugins; importing it has no side effects and takes less than 300 ms
PK2 B Its manifest is whole: name, version, core range, capabilities, vendor API, owner, licence, homepage, hosts
PK3 B It has only known hooks with the right signatures, and a hook of an unknown name is refused
PK4 B Where it is broken or missing the hub runs all the same, and the error names it and the remedy
PK5 B Its dependencies fit those of the core, and pin none of them
PK6 P It is built by public CI with provenance, and its tag is its version
PK7 P It runs unchanged in a process of its own
CF1 B Every setting has a label, a help text and an example, and its default is valid
CF2 B Settings with secret-like names are secret, and may be references
CF3 B The sample is valid; without a required setting, or with an unknown one, the error names it
CF4 S Configurations of older versions still load, and nothing new is required
CF5 B Secrets never show in logs, errors, dead letters or views
CF6 S Two connectors of one account are noticed
CN1 B The check tells good credentials, bad ones, missing rights, another account and a vendor that is down apart
CN2 S Refused credentials raise one alert, park the queue, and it goes on by itself once they are taken again
CN3 B It calls the vendor through the session that it is given, only on its hosts, and follows no redirect
CN4 B No call waits for ever, and a call that is given up leaves neither task nor socket behind
FD1 S Discovery lists fields with types, options and what is read-only, all pages of them, in a stable order
FD2 G A field that is deleted or retyped at the vendor is reported, and only that field is parked
FD3 S Values of every type go to the vendor and come back as they were
PR1 B A profile is created, changed, left alone where nothing changed, and a field of it cleared
PR2 S The same said twice is sent once
PR3 B Writing a profile never changes a consent, and who opted out stays out
PR4 S One person is one contact, however the address is written
ID1 S The vendor's id is kept and used, and outlives a change of address
ID2 S A changed address renames the contact, or moves it, and the old one is off every list
ID3 G A new address that the vendor has already ends as declared, and nothing is lost
CO1 B Consents go to the vendor and come back, each state as itself
CO2 S Who must confirm is asked once, is opted in only by the confirmation, and that is on record
CO3 S An older consent that comes after a newer one changes nothing
CO4 S Purposes are kept apart
CO5 B Without consent nothing is sent that needs it
LP1 B The hub's own write that comes back as a report is recognised
LP2 S A real change to an earlier value is taken over
LP3 G A value that the vendor altered is recognised when it comes back
LP4 G A ring of three systems goes quiet
IN1 B A webhook is believed only with a signature that is right, fresh, for this account and not used before
IN2 B Without a signature, a webhook needs the URL that nobody can guess, and the vendor's token where there is one
IN3 B A webhook is answered once it is on disk; one that comes twice or late does no harm
IN4 S Bursts, forms, JSON and unknown kinds of webhooks are taken, and nothing of them is lost
IN5 S Its webhooks are registered, found, repaired and removed, and those of others never touched
IN6 G Webhooks that silently stop are noticed, and a pull fills the gap
DL1 B Every answer of the vendor becomes one of the known outcomes
DL2 S What the vendor says of when to come back is kept to
DL3 S A call whose answer is lost ends as the plugin declares
DL4 S One bad item of a batch does not fail the others
DL5 S Never more calls are made than the limits allow
DL6 S What is said of a person arrives in order, through failures too
DL7 S kill -9 during delivery loses nothing
DL8 G A day of maintenance at the vendor ends with everything delivered, opt-outs first
SY1 S A pull can be resumed in the middle, and a cursor that makes no sense does no harm
SY2 S Two pulls find the same, and nobody is missed while the account changes
SY3 S Deletions at the vendor are noticed, or declared not to be
SY4 G Planted drift is found, all of it and nothing else
AU1 S Somebody is put into an audience and taken out; members of others stay
AU2 S An audience that shrinks at once trips the guard
TR1 S Only what is published is offered; what cannot be sent is reported plainly
TR2 S One trigger is one mail, through timeouts, retries and restarts
TR3 G Products travel with a trigger, in the right language and within the limits
ER1 S Erasing a person says what is left to do at the vendor, and a later pull does not bring them back
ER2 G An export of a person holds all that the plugin can read at the vendor
OB1 S Every operation is counted and has a reason, and no log line holds personal data
OB2 S A vendor that is down is said once, and once that it is back
OB3 G Diagnostics are redacted and useful
SE1 B Private addresses are not reached unless they are allowed
SE2 S Hostile answers of a vendor do no harm
SE3 S Malformed webhooks crash nothing
TW1 G The twin answers as the vendor was recorded to
TW2 P A nightly run against a real account reads back what it wrote
VS1 G A new version is compared with the old one on recorded traffic
VS2 S A breaking change is a major version with a note
DC1 B Its README has setup, permissions, fields, limits, known limitations, troubleshooting and removal
DC2 S Every example of its README works
QT1 S It is typed throughout, covered by tests to 95 %, and lint-clean
QT2 S It has an owner who can be reached
"""

RULES: dict[str, Rule] = {
    id_: Rule(id_, _LETTERS[letter], words)
    for id_, letter, words in (line.split(maxsplit=2) for line in _TABLE.strip().splitlines())
}
"""Every rule by its id, in the order of the catalogue."""
