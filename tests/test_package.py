"""The package as it is installed: light to import, whole in its wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "sklearn", "lightgbm", "shap", "pandas", "scipy", "duckdb", "ibis", "pyarrow")


def test_importing_huaxiang_loads_nothing_heavy() -> None:
    code = f"import huaxiang, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_help_loads_no_model_library() -> None:
    code = (
        "import sys; sys.argv = ['huaxiang', '--help']\nfrom huaxiang.cli import run_words as main\n"
        f"try: main()\nexcept SystemExit: print('LOADED', [name for name in {HEAVY[:7]!r} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "LOADED []" in shown


def test_wheel_installs_into_a_bare_environment_and_gives_the_command(tmp_path: Path) -> None:
    """Dependencies come from this environment by a path file: their own installation is what `make test` has just done."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(ROOT)], check=True
    )
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("words/shop.toml") for name in names)
    assert any(name.endswith("LICENSE") for name in names)
    venv.create(tmp_path / "bare", with_pip=False)
    python = tmp_path / "bare" / "bin" / "python"
    subprocess.run([*pip, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)], check=True)
    site = next((tmp_path / "bare" / "lib").glob("python*/site-packages"))
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    shown = subprocess.run(
        [str(python.parent / "huaxiang"), "--lang", "zh", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=environ,
        cwd=tmp_path,
    ).stdout
    assert "画像" in shown
    where = subprocess.run(
        [str(python), "-c", "import huaxiang; print(huaxiang.__file__)"],
        capture_output=True,
        text=True,
        check=True,
        env=environ,
        cwd=tmp_path,
    ).stdout
    assert str(tmp_path) in where
