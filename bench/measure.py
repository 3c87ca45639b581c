"""How the benchmarks measure: each piece of work in a fresh process, figures with their spread, one report."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

Metrics = dict[str, dict[str, float]]


class ChildError(RuntimeError):
    """The process of a measured piece of work ended without a result."""


def in_child(work: Any, *given: Any) -> tuple[float, float, Any]:
    """Seconds, peak memory in GB (10⁹ bytes) and result of `work(*given)` in a fresh process.

    work: a function of a module, giving its own seconds and a result
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(there, work, given))
    child.start()
    there.close()
    try:
        found = here.recv()
    except EOFError as error:
        child.join()
        raise ChildError(f"{work.__name__} ended with exit code {child.exitcode}") from error
    child.join()
    return found


def _child(pipe: Any, work: Any, given: tuple[Any, ...]) -> None:
    seconds, result = work(*given)
    pipe.send((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, result))


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
        "versions": {name: version(name) for name in ("huaxiang", "duckdb", "pandas", "pyarrow")},
        "data": data,
        "metrics": metrics,
        **rest,
    }
    out.write_text(json.dumps(report, indent=1), encoding="utf-8")
    print(out)
