"""Messages of Kafka topics. Offsets are kept in the live store, in the transaction that writes the messages: the brokers' own are not used."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from huaxiang.errors import SourceError
from huaxiang.serve.pull.positions import Position
from huaxiang.serve.pull.sender import BYTES, ROWS, Row, Sender
from huaxiang.settings import PullSettings

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message

WAIT_S = 0.5  # for messages
LOOK_S = 60.0  # how soon a new partition is found
ASK_S = 10.0  # for what the brokers know


class Kafka:
    """Every partition of some topics. ended: whether the process is about to end"""

    def __init__(
        self, settings: PullSettings, environ: Mapping[str, str], sender: Sender, ended: Callable[[], bool]
    ) -> None:
        try:
            import confluent_kafka
        except ImportError as error:
            raise SourceError("serve.pull_no_kafka") from error
        self._kafka = confluent_kafka
        self._settings, self._sender, self._ended = settings, sender, ended
        self._options = {name: _filled(value, environ, sender.name) for name, value in settings.options.items()}
        self._consumer: Consumer | None = None
        self._looked = 0.0
        self._assigned: set[tuple[str, int]] = set()

    def step(self) -> float:
        """Takes what has come; gives the seconds to rest."""
        try:
            consumer = self._connected()
            if time.monotonic() - self._looked > LOOK_S:
                self._assign(consumer)
            found: list[Message] = []
            size = 0
            end = time.monotonic() + WAIT_S
            while len(found) < ROWS and size < BYTES and not self._ended():
                some = consumer.consume(min(100, ROWS - len(found)), max(0.0, end - time.monotonic()))
                found += some
                size += sum(len(one.value() or b"") for one in some)
                if not some or time.monotonic() > end:
                    break
            self._take([one for one in found if self._is_good(one)])
            return 0.0
        except self._kafka.KafkaException as error:
            raise self._told(error.args[0].name()) from None

    def reset(self) -> None:
        """Begins at the stored offsets again."""
        self.close()

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _take(self, messages: list[Message]) -> None:
        rows, positions = list[Row](), dict[str, Position]()
        for one in messages:
            place = f"{one.topic()}/{one.partition()}"
            positions[place] = {"next": one.offset() + 1}
            if (content := one.value()) is not None:  # a tombstone says nothing
                _, millis = one.timestamp()
                at = datetime.fromtimestamp(millis / 1000, UTC) if millis > 0 else None
                rows.append(Row(f"{place}/{one.offset()}", content, at=at))
        if positions:
            self._sender.send(rows, positions)
        self._sender.counts.behind = self._behind()

    def _is_good(self, message: Message) -> bool:
        """Whether it is a message, and no notice of the client's; raises SourceError for one that does not pass by itself."""
        error = message.error()
        if error is None:
            return True
        if error.fatal() or not error.retriable():
            raise self._told(error.name())
        return False

    def _connected(self) -> Consumer:
        if self._consumer is None:
            self._consumer = self._kafka.Consumer(
                {
                    "auto.offset.reset": "earliest",  # where what came next is gone already, what is left is taken
                    **self._options,
                    "bootstrap.servers": self._settings.brokers,
                    "group.id": self._settings.group,
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                },
                logger=_Silent(),
            )
            self._looked = float("-inf")
            self._assigned = set()
        return self._consumer

    def _assign(self, consumer: Consumer) -> None:
        """Every partition there is, from the stored offset on."""
        there = set[tuple[str, int]]()
        for topic in self._settings.topics:
            known = consumer.list_topics(topic, timeout=ASK_S).topics[topic]
            if known.error is not None:
                raise self._told(known.error.name())
            there |= {(topic, number) for number in known.partitions}
        if there != self._assigned:
            stored = self._sender.positions()
            fresh: dict[str, Position] = {}
            parts = []
            for topic, number in sorted(there):
                part = self._kafka.TopicPartition(topic, number, self._kafka.OFFSET_BEGINNING)
                if known_at := stored.get(f"{topic}/{number}"):
                    part.offset = known_at["next"]
                elif (
                    self._settings.start == "end" and not self._assigned
                ):  # one that is made while we run is read whole
                    _, part.offset = consumer.get_watermark_offsets(part, timeout=ASK_S)
                    fresh[f"{topic}/{number}"] = {"next": part.offset}
                parts.append(part)
            if fresh:  # or what comes while nobody reads would be behind the end that the next start finds
                self._sender.send([], fresh)
            consumer.assign(parts)
            self._assigned = there
        self._looked = time.monotonic()

    def _behind(self) -> int | None:
        """Messages that wait, as far as the last answer of the brokers tells."""
        assert self._consumer is not None
        waiting = 0
        for part in self._consumer.position([self._kafka.TopicPartition(*one) for one in self._assigned]):
            _, high = self._consumer.get_watermark_offsets(part, cached=True)
            if part.offset >= 0 and high >= 0:
                waiting += max(0, high - part.offset)
        return waiting

    def _told(self, reason: str) -> SourceError:
        return SourceError("serve.pull_kafka", name=self._sender.name, brokers=self._settings.brokers, detail=reason)


class _Silent:
    """librdkafka's own lines say hosts again and again; what matters comes as an error."""

    def log(self, level: int, text: str, *values: object) -> None:
        pass


def _filled(value: str, environ: Mapping[str, str], name: str) -> str:
    def find(found: re.Match[str]) -> str:
        if found[1] not in environ:
            raise SourceError("collect.no_variable", source=name, variable=found[1])
        return environ[found[1]]

    return re.sub(r"\$\{(\w+)\}", find, value)
