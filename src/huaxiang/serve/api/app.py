"""The API as one ASGI application."""

from __future__ import annotations

import re
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse
from starlette.exceptions import HTTPException

from huaxiang import __version__
from huaxiang.errors import HuaxiangError
from huaxiang.serve.api import about, erase, foresee, guard, market, people
from huaxiang.serve.api.door import CALLER, Door
from huaxiang.serve.api.metrics import write_metrics
from huaxiang.serve.api.problems import ApiError, places_of, write_problem
from huaxiang.serve.api.rooms import Rooms
from huaxiang.serve.api.schemas import Health
from huaxiang.words import Lang


def make_api(rooms: Rooms) -> Door:
    """Everything that is not the collector's: /health, /metrics, /api/v1, and /api/openapi.json that tells it."""
    api = FastAPI(
        title="huaxiang",
        version=__version__,
        description="What a shop knows of its customers. Every answer about a customer is in the audit.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,
    )
    api.state.rooms = rooms
    for part in (people, foresee, market, guard, erase, about):
        api.include_router(part.router, prefix="/api/v1")
    _add_errors(api)

    @api.get("/health", summary="Whether the shop lives", response_model=Health, tags=["the shop"])
    async def health() -> dict[str, Any]:
        running = rooms.running
        worker = running.worker
        waiting = worker.lag() if worker and worker.ready.is_set() else None
        return {"status": "ok", "version": __version__, "collected": running.log.last(), "waiting": waiting}

    @api.get("/metrics", response_class=PlainTextResponse, summary="Prometheus metrics", tags=["the shop"])
    async def metrics() -> str:
        return write_metrics(rooms)

    return Door(rooms, api, people.read_profile)


def _add_errors(api: FastAPI) -> None:
    @api.exception_handler(HuaxiangError)
    async def told(request: Request, error: HuaxiangError) -> Response:
        return _answer(request, error)

    @api.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        if any(one.get("type") == "json_invalid" for one in error.errors()):
            return _answer(request, ApiError("serve.api_unreadable"))
        return _answer(request, ApiError("serve.api_invalid", more={"places": places_of(error.errors())}))

    @api.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        keys = {404: "serve.api_no_route", 405: "serve.api_method", 400: "serve.api_unreadable"}
        answer = _answer(request, ApiError(keys.get(error.status_code, "serve.api_invalid")))
        for name, value in (error.headers or {}).items():
            answer.headers[name] = value
        if error.status_code == 405:
            answer.headers["allow"] = ", ".join(_allowed(api, request))
        return answer

    @api.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        return _answer(request, ApiError("serve.api_broken"))  # it is raised on, and the door logs its place


def _allowed(api: FastAPI, request: Request) -> list[str]:
    """The methods of this path."""
    paths = api.openapi()["paths"]
    here = [
        methods
        for path, methods in paths.items()
        if re.fullmatch(re.sub(r"\\?{\w+\\?}", "[^/]+", re.escape(path)), request.url.path)
    ]
    return sorted({method.upper() for methods in here for method in methods})


def _answer(request: Request, error: HuaxiangError) -> Response:
    caller = request.scope.get(CALLER)
    lang: Lang = caller.lang if caller is not None else "en"
    status, body, headers = write_problem(error, lang)
    return Response(body, status, {name.decode(): value.decode() for name, value in headers})
