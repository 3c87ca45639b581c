"""The API keeps what its OpenAPI promises (schemathesis), and its metrics what Prometheus asks (promtool)."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from served import Served

# What JSON Schema cannot say: that most texts are no condition of the audience language, and that the places `item` and `goes` need an item.
CONFIG = """
[[operations]]
include-name = ["GET /api/v1/profiles", "POST /api/v1/audiences/preview", "GET /api/v1/profiles/{user}/recommendations"]
checks.positive_data_acceptance.expected-statuses = ["2xx", 401, 403, 404, 409, 422]
"""


def test_schemathesis_finds_nothing(served: Served, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG, encoding="utf-8")
    tool = Path(sys.executable).with_name("schemathesis")
    asked = ["--checks", "all", "-n", "10", "--seed", "7", "--continue-on-failure", "-H", f"Authorization: Bearer {served.keys['all']}"]  # fmt: skip
    command = [str(tool), "--no-color", "run", f"{served.url}/api/openapi.json", *asked]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    (generated,) = re.findall(r"(\d[\d,]*) generated", done.stdout)
    assert int(generated.replace(",", "")) > 500


def test_promtool_finds_nothing_in_the_metrics(served: Served) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (scripts/apt-needs.sh installs it)")
    served.get("/profiles/1007")
    served.send("Product Viewed", "p1", userId="1007")
    text = served.ask("GET", "/metrics", key=None).text
    for name in ("api_answers_total", "api_answer_seconds_bucket", "audit_looks_total", "collector_messages_total"):
        assert f"huaxiang_{name}" in text
    done = subprocess.run(
        [tool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_metrics_count_what_was_asked(served: Served) -> None:
    def counted() -> float:
        lines = served.ask("GET", "/metrics", key=None).text.splitlines()
        found = [line for line in lines if line.startswith('huaxiang_api_answers_total{what="profile",status="404"}')]
        return float(found[0].split()[-1]) if found else 0.0

    before = counted()
    served.get("/profiles/nobody-here")
    assert counted() == before + 1
