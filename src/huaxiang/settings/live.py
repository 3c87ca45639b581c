"""[live]: the collector, the live store and the API."""

from __future__ import annotations

from pydantic import Field, field_validator

from huaxiang.settings.base import Section
from huaxiang.settings.pull import PullSettings
from huaxiang.tables import EVENTS


class HookSettings(Section):
    """[live.hooks.NAME]: an address that is told who enters and leaves audiences while the shop lives."""

    url: str = Field(description="http or https address that takes signed JSON by POST")
    audiences: tuple[str, ...] = Field(
        default=(), description="whose changes it is told; default: all that are followed live"
    )
    secret: str = Field(
        default="",
        description="file with the secret to sign with, in the shop's folder; default: keys/hook-NAME.key, made where it is absent",
    )


class LiveSettings(Section):
    store: str = Field(
        default="live/store.db",
        description="where the log and the live profiles are kept: a SQLite file of the shop's folder, or postgresql://user@host/database",
    )
    rate: float = Field(default=100_000, gt=0, description="messages a second that a source may send")
    keep_ids_days: float = Field(
        default=1.5, ge=1, description="days for which the id of a message is remembered, so that it counts once"
    )
    lake_every_s: float = Field(
        default=300.0,
        ge=1,
        description="seconds after which what was collected goes into the lake, where the next build reads it",
    )
    foresee_s: float = Field(
        default=30.0,
        ge=0,
        description="seconds after which the behaviour model looks at a customer with new events again, at the earliest; 0: never, which saves its memory",
    )
    keep_log_days: float = Field(
        default=90,
        ge=0,
        description="days for which a message stays in the log once it is folded into its customer's profile (0: for ever): time enough to replay what a wrong mapping did to a season",
    )
    keep_audit_days: float = Field(
        default=365, ge=0, description="days for which the audit keeps who looked at whom over the API; 0: for ever"
    )
    events: dict[str, str] = Field(
        default_factory=dict,
        description='what the shop\'s own event names mean, beside the vocabulary: "PlaceOrder" = "purchase"',
    )
    fields: dict[str, str] = Field(
        default_factory=dict,
        description='which property fills a column of events, beside the usual names: item_id = "goods_code"',
    )
    hooks: dict[str, HookSettings] = Field(
        default_factory=dict, description="addresses that are told who enters and leaves audiences, by name"
    )

    @field_validator("hooks")
    @classmethod
    def _are_hook_names(cls, hooks: dict[str, HookSettings]) -> dict[str, HookSettings]:
        for name in hooks:
            if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum() or len(name) > 64:
                raise ValueError(f"{name!r} is no name of a hook: letters, digits, - and _, at most 64")
        return hooks

    pull: dict[str, PullSettings] = Field(default_factory=dict, description="what is fetched: [live.pull.NAME]")

    @field_validator("pull")
    @classmethod
    def _are_pull_names(cls, pull: dict[str, PullSettings]) -> dict[str, PullSettings]:
        for name in pull:
            if not name.replace("-", "").replace("_", "").isalnum() or len(name) > 64:
                raise ValueError(f"{name!r} is no name for a source: letters, digits, - and _, at most 64")
        return pull

    @field_validator("fields")
    @classmethod
    def _are_columns(cls, fields: dict[str, str]) -> dict[str, str]:
        known = {column.name for column in EVENTS.columns}
        if unknown := sorted(set(fields) - known):
            raise ValueError(f"{', '.join(unknown)}: no column of events; it has {', '.join(sorted(known))}")
        return fields
