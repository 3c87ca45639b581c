"""Write requirements.lock and requirements-dev.lock: exact versions of everything pyproject.toml asks for.

Run by `make lock`: makes a fresh environment, installs the project with its extras (torch first, pinned), and notes what
came; then the development group on top. Commit the result after `make test` is green with it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ["hatchling", "editables"]  # so that the editable install needs no network


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install(python, extras["deep"])
        pandas = [need for need in extras["spark"] if need.startswith("pandas")]  # one version, with Spark or without
        install(python, [*BUILD, *project["project"]["dependencies"], *extras["demo"], *pandas])
        core = freeze(python)
        install(python, project["dependency-groups"]["dev"])
        dev = [line for line in freeze(python) if line not in core]
    head = "# Exact versions tried together, written by `make lock`.\n"
    (ROOT / "requirements.lock").write_text(head + "\n".join(core) + "\n", encoding="utf-8")
    (ROOT / "requirements-dev.lock").write_text(
        head + "-r requirements.lock\n" + "\n".join(dev) + "\n", encoding="utf-8"
    )


def install(python: Path, needs: list[str]) -> None:
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *needs], check=True)


def freeze(python: Path) -> list[str]:
    listed = subprocess.run(
        [str(python), "-m", "pip", "freeze", "--all", "--exclude", "pip"], check=True, capture_output=True, text=True
    ).stdout
    return [
        line.split("+")[0] for line in listed.splitlines() if "==" in line
    ]  # torch==2.13.0+cpu is torch==2.13.0 elsewhere


if __name__ == "__main__":
    main()
