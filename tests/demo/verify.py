"""Comparing what every twin holds with what is expected, field by field."""

from __future__ import annotations

from typing import Any

from tests.demo.expect import GROUPS, LISTS, SMARTEMAILING, WEBPOWER, Expected, rewards, text


def differences(
    expected: Expected,
    webpower: dict[str, Any],
    smartemailing: dict[str, Any],
    sparkloop: dict[str, Any],
    cdp: dict[str, Any],
) -> dict[str, list[str]]:
    """Every difference by connector, as sentences; empty lists where all is as it should be."""
    return {
        "webpower": _webpower(expected, webpower, sparkloop),
        "smartemailing": _smartemailing(expected, smartemailing),
        "sparkloop": _sparkloop(expected, sparkloop),
        "cdp": _cdp(expected, cdp, sparkloop),
    }


def checked(expected: Expected, sparkloop: dict[str, Any]) -> dict[str, int]:
    """How many places for a value were compared, by connector; one that is rightly empty counts too."""
    people = len(expected.people)
    told = [told for one in expected.people for told in one.cdp.values()]
    return {
        "webpower": people * (len(WEBPOWER) + 7 + 4) + len(expected.mails),
        "smartemailing": people * (len(SMARTEMAILING) + 4) + len(expected.presents),
        "sparkloop": len(sparkloop["subscribers"]) * 3,
        "cdp": sum(len(part) for one in told for part in one.values()) + len(expected.cdp_triggers),
    }


def _webpower(expected: Expected, held: dict[str, Any], sparkloop: dict[str, Any]) -> list[str]:
    churn = next(int(number) for number, group in held["groups"].items() if group["name"] == "churn-risk")
    wanted: dict[str, Any] = {}
    for one in expected.people:
        fields = {WEBPOWER[name]: text(value) for name, value in one.fields.items() if name in WEBPOWER}
        if one.sparkloop is not None:
            fields |= {name: text(value) for name, value in rewards(sparkloop["subscribers"][one.sparkloop]).items()}
        groups = {number for purpose, number in GROUPS.items() if one.consents.get(purpose) == "granted"}
        groups |= {140} if one.audiences.get("vip") else set()
        groups |= {churn} if one.audiences.get("churn-risk") else set()
        wanted[one.email] = {"fields": fields, "groups": sorted(groups)}
    # group 61 is the vendor's own mark of somebody who left there; nobody but the vendor writes to it
    there = {
        email: {
            "fields": {name: text(value) for name, value in one["fields"].items()},
            "groups": [g for g in one["groups"] if g != 61],
        }
        for email, one in held["contacts"].items()
    }
    mails = sorted(
        (mail["email"], mail["mailing"], mail["extraContactData"]["DMD_trigger_id"]) for mail in held["mails"]
    )
    asked = sorted(each["email"] for each in held["pending"])
    waiting = sorted(one.email for one in expected.people if one.pending)
    return [
        *_compare(wanted, there),
        *_compare({"mails": sorted(expected.mails)}, {"mails": mails}),
        *_compare({"asked to confirm": waiting}, {"asked to confirm": asked}),
    ]


def _smartemailing(expected: Expected, held: dict[str, Any]) -> list[str]:
    churn = next(number for number, name in held["lists"].items() if name == "churn-risk")
    wanted: dict[str, Any] = {}
    for one in expected.people:
        fields = {SMARTEMAILING[name]: text(value) for name, value in one.fields.items() if name in SMARTEMAILING}
        lists = {str(number) for purpose, number in LISTS.items() if one.consents.get(purpose) == "granted"}
        lists |= {"12"} if one.audiences.get("vip") else set()
        lists |= {churn} if one.audiences.get("churn-risk") else set()
        wanted[one.email.lower()] = {"fields": fields, "lists": sorted(lists)}
    there = {
        email: {
            "fields": one["fields"],
            "lists": sorted(number for number, status in one["lists"].items() if status == "confirmed"),
        }
        for email, one in held["contacts"].items()
    }
    mails = sorted((mail["emailaddress"], mail["words"]["trigger_id"]) for mail in held["mails"])
    presents = sorted((email.lower(), trigger_id) for email, trigger_id in expected.presents)
    return [*_compare(wanted, there), *_compare({"mails": presents}, {"mails": mails})]


def _sparkloop(expected: Expected, held: dict[str, Any]) -> list[str]:
    wanted = {
        one.sparkloop: {"first_name": one.sparkloop_name, "status": "active" if one.active else "unsubscribed"}
        for one in expected.people
        if one.sparkloop is not None
    }
    there = {
        email: {"first_name": one["first_name"], "status": one["status"]} for email, one in held["subscribers"].items()
    }
    return _compare(wanted, there)


def _cdp(expected: Expected, held: dict[str, Any], sparkloop: dict[str, Any]) -> list[str]:
    wanted: dict[str, Any] = {}
    for one in expected.people:
        if one.sparkloop is not None:
            link = {name.lower(): value for name, value in rewards(sparkloop["subscribers"][one.sparkloop]).items()}
            first = {name: link[name] for name in ("rh_subid", "rh_code", "rh_reflink", "rh_isref")} | {"rh_totref": 0}
            one.cdp[one.linked_at]["fields"] = first | one.cdp[one.linked_at]["fields"]
        wanted |= one.cdp
    there = {
        email: {part: dict(one[part]) for part in ("fields", "audiences", "consents")}
        for email, one in held["people"].items()
    }
    triggers = sorted((each["email"], each["trigger"]) for each in held["triggers"])
    return [*_compare(wanted, there), *_compare({"triggers": sorted(expected.cdp_triggers)}, {"triggers": triggers})]


def _compare(wanted: dict[str, Any], there: dict[str, Any]) -> list[str]:
    found = [f"{key}: is missing" for key in wanted.keys() - there.keys()]
    found += [f"{key}: should not be there" for key in there.keys() - wanted.keys()]
    for key in wanted.keys() & there.keys():
        if isinstance(wanted[key], dict):
            found += [
                f"{key}: {part} is {there[key].get(part)!r}, expected {wanted[key].get(part)!r}"
                for part in wanted[key].keys() | there[key].keys()
                if wanted[key].get(part) != there[key].get(part)
            ]
        elif wanted[key] != there[key]:
            odd = (
                [each for each in wanted[key] if each not in there[key]],
                [each for each in there[key] if each not in wanted[key]],
            )
            found.append(f"{key}: missing {odd[0][:5]}, too many {odd[1][:5]}")
    return sorted(found)
