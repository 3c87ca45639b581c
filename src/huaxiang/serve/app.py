"""The shop as one ASGI application: the collector's paths go to it straight, everything else to the API."""

from __future__ import annotations

from huaxiang.serve.bodies import Receive
from huaxiang.serve.collector import Collector, Scope, Send


class App:
    """api: an ASGI application for every path that is not the collector's"""

    def __init__(self, collector: Collector, api: object) -> None:
        self._collector, self._api = collector, api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._collector.takes(scope["path"]):
            await self._collector(scope, receive, send)
        else:
            await self._api(scope, receive, send)  # type: ignore[operator]
