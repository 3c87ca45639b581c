"""The terms of a campaign, as its plan is kept: whom it asked, who was left out and why, and what its test can find."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from huaxiang.engine import Lake

STEP = "campaign."


@dataclass(frozen=True)
class Campaign:
    """The terms of a campaign. Times are UTC; `left_out`: reason -> customers; `detectable`: the smallest effect the test likely finds,
    in the metric's unit, which also sets the mixture of its always-valid interval."""

    name: str
    channel: str
    holdout: float
    metric: str
    days: int
    assigned_at: datetime
    send_after: datetime
    targeted_by: str  # everyone, list, audience, effect or redemption
    asked: int
    treated: int
    held_out: int
    left_out: dict[str, int]
    detectable: float
    base: float  # mean of the metric over as many days before
    profile_as_of: str
    uplift_version: str = ""
    audience: str = ""
    audience_version: str = ""
    offers: dict[str, int] = field(default_factory=dict)  # offer -> treated customers who get it
    policies: tuple[dict[str, Any], ...] = ()  # the allocation beside what else the budget could do (policies.py)
    per_user: int = 1
    null_rankings: tuple[str, ...] = ()  # offers ("": messages) whose ranking cannot be told from a random order
    expected: float | None = None  # incremental profit by the ranking's effects, hold-out included

    @property
    def has_holdout(self) -> bool:
        return self.held_out > 0

    @property
    def held_share(self) -> float:
        """The share really held out: who is follows from a hash, so that it differs a little from the `holdout` planned."""
        return self.held_out / max(self.treated + self.held_out, 1)

    def sends_from(self, zone: str) -> datetime:
        """`send_after` by the clock of `zone` (the shop's), which it carries."""
        return self.send_after.replace(tzinfo=UTC).astimezone(ZoneInfo(zone))

    @property
    def stale_days(self) -> int:
        """Days from the profiles' date to the plan: who came or left since is not known."""
        if not self.profile_as_of:
            return 0
        return (self.assigned_at.date() - datetime.fromisoformat(self.profile_as_of[:10]).date()).days

    def to_json(self) -> dict[str, Any]:
        times = {name: f"{getattr(self, name).isoformat()}+00:00" for name in ("assigned_at", "send_after")}
        return asdict(self) | times | {"held_share": self.held_share}

    @classmethod
    def from_json(cls, note: dict[str, Any]) -> Campaign:
        times = {
            name: datetime.fromisoformat(note[name]).replace(tzinfo=None) for name in ("assigned_at", "send_after")
        }
        note = note | {name: tuple(note.get(name, ())) for name in ("policies", "null_rankings")}
        return cls(**{name: value for name, value in (note | times).items() if name != "held_share"})


def planned(lake: Lake) -> dict[str, dict[str, Any]]:
    """name -> note of every campaign that was planned and not taken back."""
    steps = sorted(lake.manifest().steps.items())
    return {step.removeprefix(STEP): note for step, note in steps if step.startswith(STEP) and "campaign" in note}


def sent_times(lake: Lake) -> dict[str, datetime]:
    """name -> when it was last exported or sent (UTC), of those that were. A plan of a version that did not keep it counts from its making."""
    found = {name: note.get("sent_at", note["campaign"]["assigned_at"]) for name, note in planned(lake).items()}
    return {name: datetime.fromisoformat(at).replace(tzinfo=None) for name, at in found.items() if at is not None}
