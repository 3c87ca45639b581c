"""Sessions from times that arrive in any order.

Kept are the stretches of each local day: [day, first, last] in microseconds, sorted; times of one day no further apart than the
gap are one stretch. A stretch that begins no later than the gap after the one before goes on with its session (over midnight),
else it begins one. Which order the times came in leaves no trace, so two states merge by adding the stretches of one to the other.
"""

from __future__ import annotations

Stretches = list[list[int]]
DAY_US = 86_400_000_000
NO_ID = 0
ID_GAP_US = DAY_US  # events of one session id are a session while no more than a day passes between them


def add_stretch(held: Stretches, day: int, first: int, last: int, gap: int) -> None:
    """Adds the stretch [first, last] of one day."""
    place = len(held)
    while place and held[place - 1][1] > first:
        place -= 1
    if place and held[place - 1][0] == day and first - held[place - 1][2] <= gap:
        place -= 1
        held[place][2] = max(held[place][2], last)
    else:
        held.insert(place, [day, first, last])
    while place + 1 < len(held) and held[place + 1][0] == day and held[place + 1][1] - held[place][2] <= gap:
        held[place][2] = max(held[place][2], held.pop(place + 1)[2])


def begun(held: Stretches, gap: int) -> list[tuple[int, int, int]]:
    """For each stretch: its day, whether it begins a session (1 or 0), and the microseconds it adds to its session."""
    found, before = [], None
    for day, first, last in held:
        goes_on = before is not None and first - before <= gap
        found.append((day, 0 if goes_on else 1, last - (before if goes_on and before is not None else first)))
        before = last
    return found


def forget(held: Stretches, before_day: int) -> None:
    """Drops the stretches before a day, all but the newest of them: the next may go on with its session."""
    old = sum(1 for stretch in held if stretch[0] < before_day)
    if old > 1:
        del held[: old - 1]
