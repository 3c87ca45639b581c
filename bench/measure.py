"""How the benchmarks measure: each piece of work in a fresh process, figures with their spread, one report."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import time
from dataclasses import dataclass
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

Metrics = dict[str, dict[str, float]]


NAMED = ("huaxiang", "duckdb", "pandas", "pyarrow", "torch")  # whose versions a report tells, where they are installed
QUIET = 0.1  # of the machine: what others may use while something is measured


class NotAvailableError(RuntimeError):
    """What was to be measured does not exist here; says why."""


class Timer:
    """What a `with` took.

    seconds, cpu_s: by the clock, and of all threads' work, which is steadier where other processes want the same cores
    peak_gb: the process's peak memory at its end, in 10⁹ bytes
    others: the share of the machine's cores that other processes used meanwhile (0 where the system does not tell)
    """

    seconds: float
    cpu_s: float
    peak_gb: float
    others: float

    def __enter__(self) -> Timer:
        self._busy, self._start, self._cpu_start = _busy_s(), time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds, self.cpu_s = time.perf_counter() - self._start, time.process_time() - self._cpu_start
        self.peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        other_s = _busy_s() - self._busy - self.cpu_s
        self.others = max(0.0, other_s / (self.seconds * (os.cpu_count() or 1)))


@dataclass(frozen=True)
class Run:
    """One piece of work, measured in a process of its own (see Timer)."""

    seconds: float
    cpu_s: float
    peak_gb: float
    others: float
    result: Any

    def __str__(self) -> str:
        return (
            f"{self.seconds:7.2f} s  work {self.cpu_s:6.2f} s  peak {self.peak_gb:5.2f} GB  others {self.others:4.0%}"
        )


def in_child(work: Any, *given: Any) -> Run:
    """`work(*given)`, a function of a module that gives its timer and a result, in a fresh process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(there, work, given))
    child.start()
    there.close()
    try:
        found: Run | str = here.recv()
    except EOFError as error:
        child.join()
        raise RuntimeError(f"{work.__name__} ended with exit code {child.exitcode}") from error
    child.join()
    if isinstance(found, str):
        raise NotAvailableError(found)
    return found


def _child(pipe: Any, work: Any, given: tuple[Any, ...]) -> None:
    try:
        timer, result = work(*given)
    except NotAvailableError as error:
        pipe.send(str(error))
        return
    pipe.send(Run(timer.seconds, timer.cpu_s, timer.peak_gb, timer.others, result))


def wait_until_quiet(longest_s: float) -> None:
    """Wait until other processes leave the machine alone, at most `longest_s` seconds."""
    end = time.monotonic() + longest_s
    while time.monotonic() < end:
        with Timer() as timer:
            time.sleep(1.5)
        if timer.others < QUIET:
            return


def _busy_s() -> float:
    """Seconds that all cores together have worked since the machine started (0 where the system does not tell)."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system, _, _, irq, softirq, *_ = map(int, stat.read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def note(metrics: Metrics, name: str, values: list[float]) -> None:
    """Put a figure into `metrics`: the mean of `values`, their spread and, of more than one, their median."""
    metrics[name] = {
        "mean": statistics.fmean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else 0.0,
        "n": len(values),
    }
    if len(values) > 1:
        metrics[name]["median"] = statistics.median(values)


def write_report(out: Path | None, question: str, data: str, metrics: Metrics, **rest: Any) -> None:
    """Write the report as JSON, where `out` names a file. rest: further entries beside the metrics."""
    if out is None:
        return
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    report = {
        "question": question,
        "commit": commit.stdout.strip(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": {name: version(name) for name in NAMED if next(distributions(name=name), None)},
        "data": data,
        "metrics": metrics,
        **rest,
    }
    out.write_text(json.dumps(report, indent=1), encoding="utf-8")
    print(out)
