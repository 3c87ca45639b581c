"""The connection: JSON over HTTP, kept open, one a thread.

On the standard library's http.client: what is sent and answered here is small JSON, and a package for it would be one more to install.
"""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

from huaxiang.errors import HuaxiangError

Query = Mapping[str, str | int | bool | Sequence[str] | None]
_GONE = (http.client.HTTPException, ConnectionError, TimeoutError, OSError)


class ClientError(HuaxiangError):
    """The server refused, or did not answer. status: of HTTP (0: no answer); problem: as the server told it (RFC 9457)"""

    def __init__(
        self, key: str, /, *, status: int = 0, problem: Mapping[str, Any] | None = None, **values: Any
    ) -> None:
        self.status = status
        self.problem = dict(problem or {})
        super().__init__(key, status=status, **values)


class Wire:
    """Asks the server at `url`. May be used from several threads."""

    def __init__(self, url: str, key: str, *, timeout: float, lang: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ClientError("client.url", url=url) from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ClientError("client.url", url=url)
        self._url = f"{parts.scheme}://{parts.hostname}{'' if port is None else f':{port}'}"
        self._host, self._port, self._secure = parts.hostname, port, parts.scheme == "https"
        self._path, self._timeout = parts.path.rstrip("/"), timeout
        self._headers = {"Authorization": f"Bearer {key}", "Accept": "application/json", "Accept-Language": lang}
        self._here = threading.local()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"  # never the key

    def get(self, path: str, query: Query | None = None) -> Any:
        return self._ask("GET", path + _written(query or {}), None)

    def post(self, path: str, body: Any) -> Any:
        return self._ask("POST", path, json.dumps(body, allow_nan=False).encode())

    def delete(self, path: str) -> Any:
        return self._ask("DELETE", path, None)

    def close(self) -> None:
        """This thread's connection."""
        if (found := getattr(self._here, "connection", None)) is not None:
            found.close()
            del self._here.connection

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        headers = self._headers | ({} if body is None else {"Content-Type": "application/json"})
        fresh = not hasattr(self._here, "connection")
        try:
            status, text = self._send(method, path, body, headers)
        except _GONE as error:
            self.close()
            if fresh or method != "GET" or isinstance(error, TimeoutError):
                raise ClientError("client.away", url=self._url, kind=type(error).__name__) from error
            try:  # a connection that was kept open may have been closed meanwhile
                status, text = self._send(method, path, body, headers)
            except _GONE as again:
                self.close()
                raise ClientError("client.away", url=self._url, kind=type(again).__name__) from again
        return _read(status, text)

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        if not hasattr(self._here, "connection"):
            if self._secure:
                context = ssl.create_default_context()
                self._here.connection = http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=context)  # fmt: skip
            else:
                self._here.connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        connection: http.client.HTTPConnection = self._here.connection
        connection.request(method, f"{self._path}/api/v1{path}", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def _read(status: int, text: bytes) -> Any:
    """The answer's JSON; raises ClientError for a problem."""
    try:
        found = json.loads(text)
    except ValueError:
        found = {}
    if status < 400 and text:
        return found
    problem = found if isinstance(found, dict) else {}
    said = {name: str(problem.get(name, "")) for name in ("title", "detail", "mend")}
    raise ClientError("client.refused", status=status, problem=problem, **said)


def _written(query: Query) -> str:
    given: list[tuple[str, str]] = []
    for name, value in query.items():
        if isinstance(value, bool):
            given.append((name, "true" if value else "false"))
        elif isinstance(value, str | int):
            given.append((name, str(value)))
        elif value is not None:
            given += [(name, one) for one in value]
    return f"?{urlencode(given)}" if given else ""
