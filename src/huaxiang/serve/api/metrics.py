"""What a running shop counts, in Prometheus' text format.

source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huaxiang.serve.api.rooms import Rooms

LIMITS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)  # seconds


@dataclass
class Counted:
    """Requests of the API. answers: by what was asked and status; by: (what) → how many took up to each of LIMITS, and more"""

    answers: dict[tuple[str, int], int] = field(default_factory=dict)
    by: dict[str, list[int]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def count(self, what: str, status: int, seconds: float) -> None:
        key = (what, status)
        self.answers[key] = self.answers.get(key, 0) + 1
        if what not in self.by:
            self.by[what] = [0] * (len(LIMITS) + 1)
        self.by[what][bisect_left(LIMITS, seconds)] += 1
        self.seconds[what] = self.seconds.get(what, 0.0) + seconds


class _Page:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, name: str, kind: str, help: str, values: Mapping[str, float]) -> None:
        self.lines.append(f"# HELP huaxiang_{name} {help}")
        self.lines.append(f"# TYPE huaxiang_{name} {kind}")
        self.lines.extend(f"huaxiang_{name}{labels} {value:g}" for labels, value in values.items())


def write_metrics(rooms: Rooms) -> str:
    """In Prometheus' text format."""
    page = _Page()
    _collected(page, rooms)
    _asked(page, rooms)
    return "\n".join(page.lines) + "\n"


def _collected(page: _Page, rooms: Rooms) -> None:
    running = rooms.running
    collector, committer, worker = running.collector, running.committer, running.worker
    answers = {f'{{status="{status}"}}': float(n) for status, n in sorted(collector.answers.items())}
    page.say("collector_answers_total", "counter", "Requests of SDKs answered, by status.", answers)
    page.say("collector_messages_total", "counter", "Messages on disk, each id once.", {"": committer.messages})
    refused = {f'{{reason="{_label(reason)}"}}': float(n) for reason, n in sorted(collector.refused.items())}
    page.say("collector_refused_total", "counter", "Messages put into the quarantine at the door, by reason.", refused)
    page.say("log_commits_total", "counter", "Transactions of the log.", {"": committer.commits})
    page.say("log_waiting_bytes", "gauge", "Bytes that wait to be written.", {"": committer.waiting_bytes})
    if worker is not None:
        page.say(
            "worker_stuck_total", "counter", "Times a batch could not be folded; it is tried again.", {"": worker.stuck}
        )
        page.say("worker_events_total", "counter", "Events folded into profiles.", {"": worker.events})
        page.say("worker_profiles_total", "counter", "Profiles made anew.", {"": worker.profiles})
        page.say("worker_waiting_profiles", "gauge", "Profiles that wait to be made anew.", {"": worker.waiting()})
        page.say("worker_waiting_requests", "gauge", "Requests that wait to be folded.", {"": worker.lag()})
        if worker.checked is not None:
            differing = {"": float(len(worker.checked.differing))}
            page.say(
                "check_differing_features",
                "gauge",
                "Features in which live and batch differed at the last build.",
                differing,
            )
    if running.lake is not None:
        page.say(
            "lake_waiting_requests",
            "gauge",
            "Requests that are not in the lake yet.",
            {"": running.log.last() - running.lake.written},
        )
        page.say(
            "lake_stuck_total",
            "counter",
            "Times the log could not be written into the lake; it is tried again.",
            {"": running.lake.stuck},
        )
    if (deliverer := running.deliverer) is not None:
        hooks = {name: f'{{hook="{name}"}}' for name in deliverer.outbox.hooks}
        waiting = {one: deliverer.outbox.waiting(one) for one in hooks}
        for name, kind, help, counts in (
            ("delivered_total", "counter", "Changes of audiences that a hook took.", deliverer.delivered),
            ("failed_total", "counter", "Requests that a hook did not take.", deliverer.failed),
            ("dead_total", "counter", "Changes that were given up.", deliverer.dead),
            ("waiting", "gauge", "Changes that wait to be delivered.", waiting),
        ):
            page.say(f"hooks_{name}", kind, help, {hooks[one]: float(n) for one, n in counts.items()})
    for name, kind, help, values in running.pullers.metrics():
        page.say(name, kind, help, values)


def _asked(page: _Page, rooms: Rooms) -> None:
    counted = rooms.counted
    answers = {f'{{what="{what}",status="{status}"}}': n for (what, status), n in sorted(counted.answers.items())}
    page.say("api_answers_total", "counter", "Requests of the API answered, by what was asked and status.", answers)
    seconds: dict[str, float] = {}
    for what, counts in sorted(counted.by.items()):
        total = 0
        for limit, n in zip((*LIMITS, "+Inf"), counts, strict=True):
            total += n
            seconds[f'_bucket{{what="{what}",le="{limit}"}}'] = total
        seconds[f'_sum{{what="{what}"}}'] = counted.seconds[what]
        seconds[f'_count{{what="{what}"}}'] = total
    page.say("api_answer_seconds", "histogram", "How long answers of the API took, their audit included.", seconds)
    page.say("api_waiting_questions", "gauge", "Questions that a thread works on or that wait for one.", {"": rooms.desk.waiting})  # fmt: skip
    page.say("audit_looks_total", "counter", "Looks at customers that the audit holds since the start.", {"": rooms.audit.looks})  # fmt: skip


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
