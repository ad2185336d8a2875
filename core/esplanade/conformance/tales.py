"""Things that are said of people while their vendor is not well, and what it shall hold of them in the end."""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeAlias, assert_never

from msgspec import Struct, field

from esplanade.model import Kind
from esplanade.reasons import REASONS
from esplanade.records import Delivery, DeliveryFilter
from esplanade.testing import VendorSide
from esplanade.testing.faults import Action

from .check import CheckFailed, require
from .rig import NAME, Rig
from .trial import Trial

Said: TypeAlias = Literal["profile", "grant", "denial", "trigger"]

SOON = {"retry": {"base": "1s", "cap": "2s"}, "breaker": {"failures": 1000}}
"""Keys of a connector that tries again soon, so that little time must pass, and however often it fails."""
RECOVERY_S = 90.0
"""So long, by the hub's clock, what is left to do may take with such a connector."""
STEP_S = 2.0
"""Steps of time that are no longer than a call may take, so that none is cut off by the clock's running ahead."""


class Scene(Protocol):
    """Where a tale is looked at in the end: a rig, or anything else that has a vendor's side."""

    trial: Trial
    side: VendorSide[Any]


class Answer(Struct, frozen=True, kw_only=True):
    """One way in which a vendor answers a request that changes something."""

    words: str
    action: Action = "before"
    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def spoil(self, rig: Rig, *, times: int | None = None) -> None:
        """Let the vendor answer so from now on."""
        rig.spoil_writes(self.action, status=self.status, body=self.body, headers=self.headers, times=times)


class Tale(Struct, frozen=True, kw_only=True):
    """One thing that is said of one person."""

    said: Said
    number: int
    """Which of many it is."""

    @property
    def email(self) -> str:
        """Whom it is about."""
        return f"{self.said}.{self.number}@example.net"

    @property
    def value(self) -> str:
        """What the field shall hold, of a profile."""
        return f"Town{self.number}"

    @property
    def words(self) -> str:
        """What it is, for the messages of checks."""
        match self.said:
            case "profile":
                return "a changed profile"
            case "grant":
                return "a grant"
            case "denial":
                return "an opt-out"
            case "trigger":
                return "a trigger"
            case _ as never:
                assert_never(never)

    def before(self, trial: Trial) -> dict[str, list[dict[str, Any]]]:
        """What the vendor knows of the person already: the events by kind."""
        if self.said == "grant":
            return {}
        grants = [_grant(self.email, each) for each in trial.purposes]
        return {"consent": grants, "profile": [{"email": self.email, "fields": {trial.text: "Delft"}}]}

    def event(self, trial: Trial) -> tuple[Kind, dict[str, Any]]:
        """What the shop says, and of which kind it is."""
        match self.said:
            case "profile":
                return "profile", {"email": self.email, "fields": {trial.text: self.value}}
            case "grant":
                return "consent", _grant(self.email, trial.purposes[0])
            case "denial":
                return "consent", {"email": self.email, "purpose": trial.purposes[0], "state": "denied"}
            case "trigger":
                return "trigger", {
                    "email": self.email,
                    "trigger": trial.triggers[0],
                    "trigger_id": f"t-{self.number}",
                }
            case _ as never:
                assert_never(never)

    async def tell(self, rig: Rig) -> Delivery:
        """Say it, with everything that follows, and return what it became."""
        kind, event = self.event(rig.trial)
        await rig.say(kind, event)
        await rig.at_rest()
        return await self.delivery(rig)

    async def delivery(self, rig: Rig) -> Delivery:
        """What it became, as it is now."""
        kind = self.said if self.said in {"profile", "trigger"} else "consent"
        found = await rig.deliveries(kind=kind, email_key=self.email)
        require(found, f"nothing was queued for {self.words}")
        return found[-1]

    def is_held(self, scene: Scene) -> bool:
        """Whether the vendor holds what it shall."""
        contacts = [each for each in scene.side.contacts() if each.email.lower() == self.email]
        purpose = scene.trial.purposes[0]
        match self.said:
            case "profile":
                return [each.fields.get(scene.trial.fields[scene.trial.text]) for each in contacts] == [self.value]
            case "grant":
                return [each.consents.get(purpose) for each in contacts] == ["granted"]
            case "denial":
                return all(each.consents.get(purpose) != "granted" for each in contacts)
            case "trigger":
                return self.mails(scene) == 1
            case _ as never:
                assert_never(never)

    def mails(self, scene: Scene) -> int:
        """How many mails the trigger had sent."""
        return sum(each.email.lower() == self.email for each in scene.side.mails())


def _grant(email: str, purpose: str) -> dict[str, Any]:
    proof = {"method": "double", "evidence": {"form": "footer"}}
    return {"email": email, "purpose": purpose, "state": "granted", **proof}


def sayings(trial: Trial) -> list[Said]:
    """What this plugin can be told."""
    of: dict[str, list[Said]] = {"profile": ["profile"], "consent": ["grant", "denial"], "trigger": ["trigger"]}
    return [said for kind in trial.kinds for said in of[kind]]


async def tales(rig: Rig, many: int) -> list[list[Tale]]:
    """So many rounds of one tale of each kind, each of a person of whom the vendor holds already what it must."""
    rounds = [[Tale(said=said, number=number) for said in sayings(rig.trial)] for number in range(many)]
    everything = [tale.before(rig.trial) for each in rounds for tale in each]
    for kind in rig.trial.kinds:
        events = [event for before in everything for event in before.get(kind, [])]
        if events and kind == "consent":
            await rig.say(kind, *events)
            await calm(rig)
    if "profile" in rig.trial.kinds:
        await rig.say("profile", *(event for before in everything for event in before.get("profile", [])))
        await calm(rig)
    rig.requests()
    return rounds


async def calm(rig: Rig, *, within_s: float = RECOVERY_S) -> None:
    """Let time pass until nothing is left to do."""

    async def is_calm() -> bool:
        return not await rig.deliveries(states=["pending", "in_flight"])

    await rig.at_rest()
    over = await rig.until(is_calm, within_s=within_s, step_s=STEP_S)
    require(over, f"{within_s:g} s after the vendor was well again, not all was done")


async def resumed(rig: Rig) -> None:
    """Somebody lets the connector go on, where it is paused."""
    state = await rig.hub.store.read(lambda reader: reader.connector_state(NAME))
    if state.state != "ok":
        await rig.hub.resume(NAME)


async def sent_again(rig: Rig, delivery: Delivery, *, force: bool = False) -> None:
    """Somebody has something sent again, and everything that follows from it."""
    await rig.hub.replay(DeliveryFilter(ids=[delivery.id]), force=force)
    await calm(rig)


async def is_known(rig: Rig, tale: Tale, what: str) -> None:
    """Require that a delivery stands in one of the known states, and that it is on record why. ``what`` is for the message."""
    delivery = await tale.delivery(rig)
    theirs = await rig.deliveries(email_key=tale.email)  # it may wait for another of the same person
    errors = [each.last_error for each in theirs if each.last_error is not None]
    for error in errors:
        require(not error.startswith("PluginError"), f"{what} ended in an error that is none of errors.py: {error}")
    match delivery.state:
        case "done":
            return
        case "in_flight":
            raise CheckFailed(f"{what} is still under way")
        case "dead" | "parked":
            require(delivery.reason in REASONS, f"{what} is {delivery.state} with the reason {delivery.reason!r}")
        case "pending":
            require(errors, f"{what} waits, and nobody knows for what")
    require(delivery.reason != "not-planned", f"{what} made the hub itself fail: {delivery.last_error}")
    reasons = await rig.reasons(tale.email)
    require(reasons and reasons[-1] in REASONS, f"{what} has no known reason on record: {reasons[-1:]}")


async def recovers(rig: Rig, tale: Tale, what: str, *, may_be_done: bool = False) -> None:
    """The vendor is well again, and a person does what is a person's to do; require that the vendor holds what it shall.

    ``may_be_done``: the vendor said that it holds that already, so that nothing is left to do.
    """
    await resumed(rig)
    await calm(rig)
    delivery = await tale.delivery(rig)
    if delivery.state in {"dead", "parked"}:
        await sent_again(rig, delivery, force=tale.said == "trigger" and tale.mails(rig) == 0)
    elif may_be_done:
        return
    require(tale.is_held(rig), f"{what}: the vendor does not hold it, although it is well again")
