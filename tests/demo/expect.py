"""What every vendor must hold at the end, told by a second, simpler mind that shares no code with the hub.

It plays the story in order, one step settled before the next begins, which is what makes it simple.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WEBPOWER = {
    "firstname": "firstname",
    "lastname": "lastname",
    "birthdate": "birthdate",
    "phone": "mobile_nr",
    "city": "city",
}
SMARTEMAILING = {
    "firstname": "name",
    "lastname": "surname",
    "birthdate": "birthday",
    "phone": "cellphone",
    "city": "town",
}
LISTS = {"newsletter": 7, "service": 9}
GROUPS = {"newsletter": 135, "service": 136}
FIELD_COLUMNS = ("firstname", "lastname", "birthdate", "phone", "city", "ltv")


@dataclass
class Someone:
    """One person, as a careful reader of the story would write them down."""

    email: str
    fields: dict[str, Any] = field(default_factory=dict)
    audiences: dict[str, bool] = field(default_factory=dict)
    consents: dict[str, str] = field(default_factory=dict)
    pending: bool = False
    sparkloop: str | None = None
    """The address under which SparkLoop knows them; None: it was never told."""
    sparkloop_name: str = ""
    active: bool = False
    linked_at: str = ""
    """The address they had when SparkLoop made their referral link."""
    cdp: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the CDP was told that it had not said itself, by the address of that time."""


class Expected:
    """Everybody, and what was sent to whom."""

    def __init__(self) -> None:
        self.people: list[Someone] = []
        self.mails: list[tuple[str, int, str]] = []
        self.presents: list[tuple[str, str]] = []
        self.cdp_triggers: list[tuple[str, str]] = []

    def read(self, path: Path) -> None:
        """The import: an operator's word, so the CDP hears of it, and nobody is asked to confirm."""
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                one = Someone(email=row["email"])
                one.fields = {name: row[name] for name in FIELD_COLUMNS if row[name]}
                for column, text in row.items():
                    kind, _, name = column.partition(":")
                    if kind == "consent" and text:
                        one.consents[name] = text
                    elif kind == "audience" and text:
                        one.audiences[name] = text == "true"
                self.people.append(one)
                told = self.told(one)
                told["fields"].update(one.fields)
                told["audiences"].update({name: True for name, member in one.audiences.items() if member})
                told["consents"].update(one.consents)
                self.sign_up(one)

    def told(self, one: Someone) -> dict[str, Any]:
        """What the CDP holds of a person under their present address."""
        return one.cdp.setdefault(one.email, {"fields": {}, "audiences": {}, "consents": {}})

    def sign_up(self, one: Someone) -> None:
        """SparkLoop hears of people with the newsletter, and of nobody else."""
        subscribed = one.consents.get("newsletter") == "granted"
        if subscribed and not one.active:
            one.active, one.sparkloop = True, one.email
            one.linked_at = one.linked_at or one.email
        if one.active:
            one.sparkloop_name = one.fields.get("firstname", "")
        if not subscribed:
            one.active = False

    def profile(self, one: Someone, fields: dict[str, Any]) -> None:
        """The shop changes some fields."""
        for name, value in fields.items():
            if value is None:
                one.fields.pop(name, None)
            else:
                one.fields[name] = value
        if one.active:
            one.sparkloop_name = one.fields.get("firstname", "")

    def consent(self, one: Someone, state: str, *, confirmed: bool) -> None:
        """The shop says what somebody said about the newsletter."""
        if state == "granted" and not confirmed:
            one.pending = one.consents.get("newsletter") != "granted"
            return
        one.consents["newsletter"] = state
        one.pending = False
        self.sign_up(one)

    def confirm(self, one: Someone) -> None:
        """Somebody clicked in Webpower's confirmation mail."""
        one.consents["newsletter"], one.pending = "granted", False
        self.sign_up(one)

    def opt_out(self, one: Someone) -> None:
        """Somebody left the newsletter at a vendor."""
        one.consents["newsletter"] = "denied"
        self.told(one)["consents"]["newsletter"] = "denied"
        self.sign_up(one)

    def befriended(self, one: Someone, email: str) -> None:
        """A friend signed up by somebody's referral link: SparkLoop tells of both."""
        friend = Someone(email=email, fields={"firstname": "Friend"}, sparkloop=email, sparkloop_name="Friend")
        friend.active, friend.linked_at = True, email
        self.people.append(friend)
        self.told(friend)["fields"].update(friend.fields)
        self.told(one)["fields"]["rh_totref"] = 1
        self.cdp_triggers.append((one.email, "new-referral"))

    def rewarded(self, one: Someone, reward: str, coupon: str) -> None:
        """Somebody won something."""
        self.told(one)["fields"].update(rh_lastreward=reward, rh_coupon=coupon)
        self.cdp_triggers.append((one.email, "reward-unlocked"))

    def birthday(self, one: Someone, trigger_id: str) -> None:
        """SmartEmailing's scenario mails a present to those who have the newsletter."""
        if one.consents.get("newsletter") == "granted":
            self.presents.append((one.email, trigger_id))

    def took_present(self, one: Someone) -> None:
        """The scenario tells of the present that somebody took."""
        self.cdp_triggers.append((one.email, "reward-given"))

    def rename(self, one: Someone, email: str) -> None:
        """The shop reports another address."""
        one.email = email
        if one.active:
            one.sparkloop = email

    def trigger(self, one: Someone, name: str, trigger_id: str) -> None:
        """A mail goes to those who agreed to it, once for each trigger id."""
        mailing, purpose = {"abandoned-cart": (318, "newsletter"), "order-shipped": (319, "service")}[name]
        mail = (one.email, mailing, trigger_id)
        if one.consents.get(purpose) == "granted" and mail not in self.mails:
            self.mails.append(mail)


def text(value: Any) -> str:
    """A value as Webpower's text fields hold it."""
    return {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def rewards(subscriber: dict[str, Any]) -> dict[str, Any]:
    """A SparkLoop subscriber as RH_* fields; what there is none of is left out."""
    held = {
        "RH_SUBID": subscriber["id"],
        "RH_CODE": subscriber["referral_code"],
        "RH_REFLINK": subscriber["referral_link"],
        "RH_ISREF": subscriber["referred"],
        "RH_TOTREF": subscriber["tot_referrals"],
        "RH_COUPON": subscriber["coupon"],
        "RH_LASTREWARD": subscriber["last_reward"],
    }
    return {name: value for name, value in held.items() if value is not None}
