"""A real HTTP server that takes webhooks, and answers as a test wants it to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Receiver:
    """A receiver that answers with what `answers` says, one after the other (then 200)."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str]] | float] = []
        self.got: list[dict[str, Any]] = []  # of what was taken
        self.requests: list[tuple[dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append((dict(self.headers), body))
                answer = outer.answers.pop(0) if outer.answers else (200, {})
                if isinstance(answer, float):  # hangs
                    time.sleep(answer)
                    return
                if answer[0] < 300:
                    outer.got += json.loads(body)["changes"]
                self.send_response(answer[0])
                for name, value in answer[1].items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                outer.requests.append(({}, b"GET"))
                self.send_error(500)

            def log_message(self, *given: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()
