"""How long work shows itself: a bar on a terminal, plain lines elsewhere, nothing in a test.

with progress.task("collect", "orders.csv", total=size) as advance:
    advance(read_bytes)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console


class Advance(Protocol):
    def __call__(self, steps: float, note: str = "") -> None:
        """`steps` more are done; `note`: how it stands, in a few words."""


class Progress:
    """Says nothing; the base of the two that do."""

    @contextmanager
    def task(self, stage: str, label: str, total: float | None = None) -> Iterator[Advance]:
        """A piece of work of `total` steps (None: unknown); the value is called with the steps done since."""
        yield lambda steps, note="": None


class LineProgress(Progress):
    """One plain line as each piece of work ends: for logs and pipes."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.write = write

    @contextmanager
    def task(self, stage: str, label: str, total: float | None = None) -> Iterator[Advance]:
        start, last = time.perf_counter(), ""

        def advance(steps: float, note: str = "") -> None:
            nonlocal last
            last = note

        yield advance
        self.write(f"{stage:<9} {label}  {time.perf_counter() - start:.1f} s{f'  {last}' if last else ''}")


class BarProgress(Progress):
    """A bar for each piece of work on a terminal, kept in view when done."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def task(self, stage: str, label: str, total: float | None = None) -> Iterator[Advance]:
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        with RichProgress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("[bold]{task.fields[stage]:<9}"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            console=self.console,
        ) as bars:
            task = bars.add_task(label, total=total, stage=stage)

            def advance(steps: float, note: str = "") -> None:
                bars.update(task, advance=steps, description=f"{label}  [dim]{note}[/]" if note else label)

            yield advance
            done = bars.tasks[0].completed or 1
            bars.update(task, total=total or done, completed=total or done)


SILENT = Progress()
