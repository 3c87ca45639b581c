"""[live]: the collector, the live store and the API."""

from __future__ import annotations

from pydantic import Field, field_validator

from huaxiang.settings.base import Section
from huaxiang.tables import EVENTS


class LiveSettings(Section):
    store: str = Field(
        default="live/store.db",
        description="where the log and the live profiles are kept: a SQLite file of the shop's folder, or postgresql://user@host/database",
    )
    rate: float = Field(default=100_000, gt=0, description="messages a second that a source may send")
    keep_ids_days: float = Field(
        default=1.5, ge=1, description="days for which the id of a message is remembered, so that it counts once"
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

    @field_validator("fields")
    @classmethod
    def _are_columns(cls, fields: dict[str, str]) -> dict[str, str]:
        known = {column.name for column in EVENTS.columns}
        if unknown := sorted(set(fields) - known):
            raise ValueError(f"{', '.join(unknown)}: no column of events; it has {', '.join(sorted(known))}")
        return fields
