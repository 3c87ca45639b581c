"""The API: what a shop knows, over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse

from huaxiang import __version__
from huaxiang.errors import StoreError

if TYPE_CHECKING:
    from huaxiang.serve.open import Running


def make_api(running: Running) -> FastAPI:
    api = FastAPI(title="huaxiang", version=__version__, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")

    @api.exception_handler(StoreError)
    def away(request: Request, error: StoreError) -> JSONResponse:
        content = {"success": False, "code": error.key, "message": error.what()}
        return JSONResponse(content, 503, headers={"retry-after": "5"})

    @api.get("/health", summary="Whether the shop lives")
    def health() -> dict[str, Any]:
        worker = running.worker
        return {
            "status": "ok",
            "version": __version__,
            "collected": running.log.last(),
            "waiting": worker.lag() if worker else None,
        }

    @api.get("/metrics", response_class=PlainTextResponse, summary="Prometheus metrics")
    def metrics() -> str:
        return write_metrics(running)

    return api


def write_metrics(running: Running) -> str:
    """In Prometheus' text format."""
    collector, committer, worker = running.collector, running.committer, running.worker
    lines: list[str] = []

    def say(name: str, kind: str, help: str, values: dict[str, float]) -> None:
        lines.append(f"# HELP huaxiang_{name} {help}")
        lines.append(f"# TYPE huaxiang_{name} {kind}")
        lines.extend(f"huaxiang_{name}{labels} {value:g}" for labels, value in values.items())

    answers = {f'{{status="{status}"}}': float(n) for status, n in sorted(collector.answers.items())}
    say("collector_answers_total", "counter", "Requests of SDKs answered, by status.", answers)
    say("collector_messages_total", "counter", "Messages on disk, each id once.", {"": committer.messages})
    refused = {f'{{reason="{reason}"}}': float(n) for reason, n in sorted(collector.refused.items())}
    say("collector_refused_total", "counter", "Messages put into the quarantine at the door, by reason.", refused)
    say("log_commits_total", "counter", "Transactions of the log.", {"": committer.commits})
    say("log_waiting_bytes", "gauge", "Bytes that wait to be written.", {"": committer.waiting_bytes})
    if (deliverer := running.deliverer) is not None:
        hooks = {name: f'{{hook="{name}"}}' for name in deliverer.outbox.hooks}
        for name, kind, help, counts in (
            ("delivered_total", "counter", "Changes of audiences that a hook took.", deliverer.delivered),
            ("failed_total", "counter", "Requests that a hook did not take.", deliverer.failed),
            ("dead_total", "counter", "Changes that were given up.", deliverer.dead),
            (
                "waiting",
                "gauge",
                "Changes that wait to be delivered.",
                {one: deliverer.outbox.waiting(one) for one in hooks},
            ),
        ):
            say(f"hooks_{name}", kind, help, {hooks[one]: float(n) for one, n in counts.items()})
    if worker is not None:
        say(
            "worker_stuck_total", "counter", "Times a batch could not be folded; it is tried again.", {"": worker.stuck}
        )
        say("worker_events_total", "counter", "Events folded into profiles.", {"": worker.events})
        say("worker_profiles_total", "counter", "Profiles made anew.", {"": worker.profiles})
        say("worker_waiting_profiles", "gauge", "Profiles that wait to be made anew.", {"": worker.waiting()})
        say("worker_waiting_requests", "gauge", "Requests that wait to be folded.", {"": worker.lag()})
    for name, kind, help, values in running.pullers.metrics():
        say(name, kind, help, values)
    return "\n".join(lines) + "\n"
