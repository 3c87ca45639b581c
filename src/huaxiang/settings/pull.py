"""[live.pull.NAME]: what a running shop fetches by itself: a folder of files, a table of PostgreSQL, topics of Kafka."""

from __future__ import annotations

import codecs
from typing import Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from huaxiang.settings.base import Section

COLUMNS = ("user_id", "anonymous_id", "event", "ts", "event_id")
_NEEDS = {"folder": ("path",), "postgresql": ("url", "cursor"), "kafka": ("brokers", "topics")}


class PullSettings(Section):
    """One thing to pull from. NAME is the source that its messages are from; a flat row's columns other than the five below are its properties."""

    kind: Literal["folder", "postgresql", "kafka"] = Field(description="folder, postgresql or kafka")
    every_s: float = Field(default=5, gt=0, description="seconds between two looks where nothing new was found")
    fields: dict[str, str] = Field(
        default_factory=dict,
        description='the shop\'s own names of user_id, anonymous_id, event, ts and event_id: user_id = "member_no"',
    )
    event: str = Field(
        default="", description="the event that a row without one is: a table of orders holds Order Completed"
    )
    zone: str = Field(default="", description="zone of times that name none (default: the shop's)")
    path: str = Field(
        default="",
        description="folder: where files arrive (.csv .tsv .jsonl .json, plain or .gz, and .parquet), relative to the shop folder; write elsewhere or as .tmp or .part, then rename",
    )
    encoding: str = Field(default="utf-8-sig", description="folder: of text files")
    url: str = Field(
        default="",
        description="postgresql: postgresql://user:${VARIABLE}@host/database, the password from the environment",
    )
    table: str = Field(default="", description="postgresql: the table to read …")
    query: str = Field(default="", description="postgresql: … or a SELECT")
    cursor: str = Field(
        default="", description="postgresql: a column that rises with what is new: a serial id, updated_at"
    )
    key: str = Field(
        default="",
        description="postgresql: a column that tells rows of one cursor value apart; needed unless the cursor is unique",
    )
    settle_s: float = Field(
        default=60,
        ge=0,
        le=10_800,
        description="postgresql: rows that became visible up to this many seconds after rows with a higher cursor are found too",
    )
    brokers: str = Field(default="", description="kafka: host:port, several with commas")
    topics: tuple[str, ...] = Field(default=(), description="kafka: the topics to read, all their partitions")
    group: str = Field(
        default="huaxiang", description="kafka: name shown to the brokers; offsets are kept in the live store"
    )
    start: Literal["beginning", "end"] = Field(
        default="beginning", description="kafka: where a partition that was never read begins"
    )
    options: dict[str, str] = Field(
        default_factory=dict,
        description='kafka: librdkafka\'s own: "security.protocol" = "SASL_SSL", "sasl.password" = "${VARIABLE}"',
    )

    @field_validator("fields")
    @classmethod
    def _are_columns(cls, fields: dict[str, str]) -> dict[str, str]:
        if unknown := sorted(set(fields) - set(COLUMNS)):
            raise ValueError(f"{', '.join(unknown)}: none of {', '.join(COLUMNS)}; all other columns are properties")
        return fields

    @field_validator("zone")
    @classmethod
    def _is_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone or "UTC")
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{zone!r} is no time zone; write one such as Asia/Shanghai or UTC") from error
        return zone

    @field_validator("encoding")
    @classmethod
    def _is_encoding(cls, name: str) -> str:
        try:
            codecs.lookup(name)
        except LookupError as error:
            raise ValueError(f"{name!r} is no encoding; write one such as utf-8 or gb18030") from error
        return name

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Self:
        if lacks := [name for name in _NEEDS[self.kind] if not getattr(self, name)]:
            raise ValueError(f"a {self.kind} needs {' and '.join(lacks)}")
        if self.kind == "postgresql" and bool(self.table) == bool(self.query):
            raise ValueError("a postgresql needs table or query, one of the two")
        return self
