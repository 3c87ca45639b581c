"""The README's and the docs' code runs: shell and Python blocks in order, TOML blocks as settings, links, the reference, the notebook."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from conftest import ROOT, write_shop_files
from huaxiang.settings import check_settings

DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "README.zh.md", *DOCS.glob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *kinds: str) -> list[tuple[str, str]]:
    return [(kind, text) for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind in kinds]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "bash", "python")], ids=lambda page: page.name)
def test_code_of_the_page_runs_as_written(page: Path, tmp_path: Path) -> None:
    write_shop_files(tmp_path, users=40, days=250)
    for script in DOCS.glob("*.py"):
        shutil.copy(script, tmp_path)
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "COLUMNS": "100",
        "HUAXIANG_SHOP__MEMORY_GB": "0.6",
    }
    for kind, text in blocks(page, "bash", "python"):
        command = ["bash", "-euo", "pipefail", "-c", text] if kind == "bash" else [sys.executable, "-c", text]
        done = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml")], ids=lambda page: page.name)
def test_settings_shown_on_the_page_are_accepted(page: Path) -> None:
    for _, text in blocks(page, "toml"):
        check_settings(tomllib.loads(text), page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_the_page_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    dead = [link for link in links if not link.startswith("http") and not (page.parent / link).exists()]
    assert dead == []


def test_reference_is_what_the_code_says() -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from reference import pages
    finally:
        sys.path.pop(0)
    stale = [name for name, text in pages().items() if (DOCS / "reference" / name).read_text(encoding="utf-8") != text]
    assert stale == [], "run `make docs`"


@pytest.mark.filterwarnings("default")  # the kernel's own libraries warn
def test_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    notebook = nbformat.read(DOCS / "tutorial-shop.ipynb", as_version=4)
    NotebookClient(
        notebook,
        timeout=600,
        startup_timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
