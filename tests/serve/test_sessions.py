"""The events of running sessions, in memory."""

from __future__ import annotations

from datetime import datetime, timedelta

from huaxiang.serve.sessions import MOST_EVENTS, Sessions

T = datetime(2024, 5, 1, 12)
NAMES = ("event_id", "user_id", "anonymous_id", "event", "ts", "item_id", "price", "order_id", "session_id")


def row(number: str, minute: float, user: str | None = "u", visitor: str | None = None, event: str = "view") -> tuple[object, ...]:  # fmt: skip
    return (number, user, visitor, event, T + timedelta(minutes=minute), "i", 1.0, None, None)


def ids(sessions: Sessions, minute: float, user: str = "u") -> list[str]:
    return [one.event_id for one in sessions.of(user, now=T + timedelta(minutes=minute))]


def test_a_session_runs_until_half_an_hour_of_quiet() -> None:
    sessions = Sessions()
    sessions.add([row("a", 0), row("b", 10)], NAMES)
    assert ids(sessions, 39) == ["a", "b"]
    assert ids(sessions, 40) == []
    sessions.add([row("c", 50)], NAMES)  # 40 minutes after b: another session
    assert ids(sessions, 51) == ["c"]


def test_late_and_repeated_events_find_their_place_once() -> None:
    sessions = Sessions()
    sessions.add([row("b", 10), row("a", 5), row("b", 10), row("c", 20)], NAMES)
    sessions.add([row("c", 20)], NAMES)
    assert ids(sessions, 21) == ["a", "b", "c"]


def test_visitors_have_sessions_and_nobody_has_none() -> None:
    sessions = Sessions()
    sessions.add([row("a", 0, None, "v"), row("b", 0, None, None)], NAMES)
    assert ids(sessions, 1, "v") == ["a"]
    assert ids(sessions, 1, "u") == []


def test_memory_is_bounded_by_events_and_by_users() -> None:
    sessions = Sessions(users=3)
    sessions.add([row(str(n), n / 100) for n in range(MOST_EVENTS + 50)], NAMES)
    kept = ids(sessions, 3)
    assert (len(kept), kept[-1], kept[0]) == (MOST_EVENTS, str(MOST_EVENTS + 49), "50")
    sessions.add([row("x", 3, f"w{n}") for n in range(3)], NAMES)
    assert ids(sessions, 4) == []  # who was quiet longest is forgotten
    assert ids(sessions, 4, "w0") == ["x"]
