"""How seconds and memory grow with the events: huaxiang's feature build at several sizes, and a picture of it."""

from __future__ import annotations

import argparse
import math
import shutil
from pathlib import Path
from statistics import median

import engines
from huaxiang.look.svg import tag, write
from measure import Metrics, in_child, note, wait_until_quiet
from shop import count_rows

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 40, 48
STYLE = """svg{font:13px system-ui,sans-serif;color:#333}text{fill:currentColor}.grid{stroke:currentColor;opacity:.15}
.fit{stroke:#2b6a8f;stroke-width:2;stroke-dasharray:5 4}.dot{fill:#b3452c}.small{font-size:11px;opacity:.75}
@media(prefers-color-scheme:dark){svg{color:#ddd}.fit{stroke:#86c5e6}.dot{fill:#f0927a}}"""


def measure_growth(metrics: Metrics, folder: Path, options: argparse.Namespace) -> None:
    """Adds growth_exponent (of seconds over events), and of each size seconds and peaks, to `metrics`; draws the picture."""
    points = []
    for size in options.sizes:
        shop = folder / f"shop-{size:g}"
        shop.mkdir()
        in_child(engines.run_make, shop, size * 1e6, options.seed, options.memory_gb, None)
        for stage in ("collect", "clean", "build"):
            run = in_child(engines.run_stage, shop, stage)
            note(metrics, f"{stage}_{size:g}m_s", [run.seconds])
            note(metrics, f"{stage}_{size:g}m_cpu_s", [run.cpu_s])
            note(metrics, f"{stage}_{size:g}m_peak_gb", [run.peak_gb])
            print(f"{size:g} M  {stage:<9} {run}", flush=True)
        runs = []
        for _ in range(options.repeat):
            wait_until_quiet(options.wait)
            runs.append(in_child(engines.run_huaxiang, shop))
            print(f"{size:g} M  features  {runs[-1]}", flush=True)
        note(metrics, f"features_{size:g}m_s", [run.seconds for run in runs])
        note(metrics, f"features_{size:g}m_cpu_s", [run.cpu_s for run in runs])
        note(metrics, f"features_{size:g}m_peak_gb", [run.peak_gb for run in runs])
        points.append((count_rows(shop / "events.parquet"), median(run.seconds for run in runs)))
        shutil.rmtree(shop)
    if len(points) > 1:
        exponent, factor = fit(points)
        note(metrics, "growth_exponent", [exponent])
        options.picture.write_text(draw(points, exponent, factor), encoding="utf-8")
        print(options.picture)


def fit(points: list[tuple[float, float]]) -> tuple[float, float]:
    """b and a of seconds = a · eventsᵇ, by least squares over the logarithms."""
    xs, ys = ([math.log(value) for value in column] for column in zip(*points, strict=True))
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    above = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    slope = above / sum((x - mean_x) ** 2 for x in xs)
    return slope, math.exp(mean_y - slope * mean_x)


def draw(points: list[tuple[float, float]], exponent: float, factor: float) -> str:
    """Seconds over events, both in powers of ten, with the line that fits them."""
    low_x, high_x = (math.log10(point[0]) for point in (points[0], points[-1]))
    low_y, high_y = (math.floor(math.log10(points[0][1])), math.ceil(math.log10(points[-1][1])))

    def x(events: float) -> float:
        return LEFT + 20 + (math.log10(events) - low_x) / (high_x - low_x) * (WIDTH - LEFT - RIGHT - 40)

    def y(seconds: float) -> float:
        return HEIGHT - BOTTOM - (math.log10(seconds) - low_y) / (high_y - low_y) * (HEIGHT - TOP - BOTTOM)

    parts = [tag("style", STYLE), tag("text", write("Feature build: seconds over events"), x=LEFT, y=22)]
    for power in range(low_y, high_y + 1):
        height = y(10.0**power)
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=height, y2=height, class_="grid"))
        parts.append(tag("text", write(f"{10.0**power:g} s"), x=LEFT - 8, y=height + 4, text_anchor="end"))
    (first, _), (last, _) = points[0], points[-1]
    ends = {"x1": x(first), "y1": y(factor * first**exponent), "x2": x(last), "y2": y(factor * last**exponent)}
    parts.append(tag("line", **ends, class_="fit"))
    parts.append(
        tag("text", write(f"exponent {exponent:.2f}"), x=x(last), y=y(factor * last**exponent) + 40, text_anchor="end")
    )
    for events, seconds in points:
        parts.append(tag("circle", cx=x(events), cy=y(seconds), r=5, class_="dot"))
        parts.append(tag("text", write(f"{seconds:.1f} s"), x=x(events) - 8, y=y(seconds) - 10, text_anchor="end"))
        label = tag("text", write(f"{events / 1e6:g} M"), x=x(events), y=HEIGHT - BOTTOM + 20, text_anchor="middle")
        parts.append(label)
    parts.append(tag("text", write("events; both axes in powers of ten"), x=LEFT, y=HEIGHT - 8, class_="small"))
    given = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img"}
    return tag("svg", *parts, **given, aria_label=f"Feature build: exponent {exponent:.2f}") + "\n"
