"""The command line as a person meets it: a whole small shop, both languages, and every refusal with its mend."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import date
from functools import partial
from pathlib import Path

import jsonschema
import pytest

from conftest import run_huaxiang, write_shop_files
from huaxiang.cli.terminal import parse_day
from huaxiang.errors import DefinitionError
from huaxiang.shop import STEPS, Shop


def test_small_shop_goes_the_whole_way(small_shop: Path) -> None:
    shown = run_huaxiang("profile", str(small_shop), "1007")
    assert shown.returncode == 0, shown.stderr
    assert len(shown.stdout.splitlines()) > 20
    assert (small_shop / "reports" / "report.html").stat().st_size > 20_000


def test_profile_json_fits_its_published_schema(small_shop: Path) -> None:
    schema = json.loads(run_huaxiang("profile", "--schema").stdout)
    document = json.loads(run_huaxiang("profile", str(small_shop), "1007", "--json").stdout)
    jsonschema.validate(document, schema)
    assert document["currency"]


def test_profile_speaks_chinese_when_asked_or_by_locale(small_shop: Path) -> None:
    asked = run_huaxiang("--lang", "zh", "profile", str(small_shop), "1007")
    after = run_huaxiang("profile", str(small_shop), "1007", "--lang=zh")
    local = run_huaxiang("profile", str(small_shop), "1007", lang="zh_CN.UTF-8")
    assert asked.stdout == after.stdout == local.stdout
    assert sum("\u4e00" <= sign <= "\u9fff" for sign in asked.stdout) > 50


def test_a_chinese_shop_speaks_chinese_errors_too(small_shop: Path, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    settings = (small_shop / "huaxiang.toml").read_text(encoding="utf-8")
    (shop / "huaxiang.toml").write_text(settings.replace('language = "en"', 'language = "zh"'), encoding="utf-8")
    assert "还没有" in run_huaxiang("profile", str(shop), "1007").stderr
    assert "还没有" not in run_huaxiang("profile", str(shop), "1007", "--lang", "en").stderr
    assert "还没有" not in run_huaxiang("profile", str(shop), "1007", HUAXIANG_LANG="en").stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("recommend", "SHOP", "1007", "--count", "0"), "--count 0 is not possible\n→ use a whole number from 1 to 100"),
        (("foresee", "SHOP", "1007", "--count", "0"), "--count 0 is not possible\n→ use a whole number from 1 to 50"),
        (("audience", "alike", "SHOP", "gold", "--count", "0"), "--count 0 is not possible\n→ use a whole number, 1 or more"),
        (("campaign", "plan", "SHOP", "x", "--channel", "emial"), "did you mean 'email'?"),
    ],
    ids=["recommend", "foresee", "alike", "channel"],
)  # fmt: skip
def test_a_number_or_name_that_cannot_be_is_said_with_its_mend(
    small_shop: Path, words: tuple[str, ...], says: str
) -> None:
    refused = run_huaxiang(*(str(small_shop) if word == "SHOP" else word for word in words))
    assert refused.returncode == 1 and says in refused.stderr


def test_second_run_keeps_what_has_not_changed(small_shop: Path) -> None:
    report = small_shop / "reports" / "report.html"
    run_huaxiang("run", str(small_shop))
    written = report.stat().st_mtime_ns
    again = run_huaxiang("run", str(small_shop))
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("kept") == 4
    assert report.stat().st_mtime_ns == written


def test_unknown_customer_is_refused_with_a_mend(small_shop: Path) -> None:
    refused = run_huaxiang("profile", str(small_shop), "999999")
    assert refused.returncode == 1
    assert "→" in refused.stderr
    assert refused.stdout == ""


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_export_writes_one_row_a_customer(small_shop: Path, tmp_path: Path, suffix: str) -> None:
    done = run_huaxiang("export", str(small_shop), str(tmp_path / f"all.{suffix}"))
    assert done.returncode == 0, done.stderr
    assert "60" in done.stdout
    assert (tmp_path / f"all.{suffix}").stat().st_size > 1000


def test_html_profile_is_written(small_shop: Path) -> None:
    done = run_huaxiang("profile", str(small_shop), "1007", "--html")
    assert done.returncode == 0, done.stderr
    [page] = (small_shop / "reports").glob("profile-*.html")
    assert "<html" in page.read_text(encoding="utf-8")


def test_features_are_listed_with_unit_and_meaning(small_shop: Path) -> None:
    listed = json.loads(run_huaxiang("features", str(small_shop), "--json").stdout)
    assert len(listed) >= 60
    assert all(feature["meaning_en"] and feature["meaning_zh"] for feature in listed)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("run", "nowhere"), "no shop at nowhere"),
        (("collect", "."), "there is no huaxiang.toml"),
        (("init", "new", "--from", "nothing.csv"), "nothing.csv"),
        (("table", "nothing.csv"), "nothing.csv"),
        (("frobnicate",), "frobnicate"),
        (("--lang", "fr", "run", "x"), "en | zh"),
    ],
    ids=["no folder", "no settings", "no source", "no table", "no command", "no language"],
)
def test_refusal_says_what_and_how_to_mend(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    refused = run_huaxiang(*words, cwd=tmp_path)
    assert refused.returncode != 0
    assert says in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("report",), "✗ huaxiang report needs SHOP\n→ `huaxiang report --help` shows how it is called\n"),
        (("report", "x", "--oot", "y"), "✗ huaxiang report knows no --oot\n→ did you mean --out?"),
        (("report", "x", "y"), "✗ huaxiang report takes no more words: y\n→ "),
        (("frobnicate",), "✗ huaxiang has no command 'frobnicate'\n→ `huaxiang --help` lists"),
        (("recommend", "x", "--log", "no.csv"), "✗ --log: there is no file no.csv\n→ check the path"),
        (("recommend", "x", "--count", "abc"), "✗ --count cannot be this: "),
        (("guard", "a", "b"), "✗ these words do not fit huaxiang guard\n→ it is called as: SHOP | queue SHOP"),
    ],
    ids=["nothing", "option", "too many", "command", "file", "number", "words"],
)
def test_words_that_do_not_fit_are_refused_with_the_mend(words: tuple[str, ...], said: str) -> None:
    refused = run_huaxiang(*words)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(said)
    assert len(refused.stderr.splitlines()) == 2


def test_a_day_that_is_none_is_refused_in_the_language_asked_for() -> None:
    with pytest.raises(DefinitionError) as refused:
        parse_day("2025-13-01")
    assert refused.value.what("zh") == "'2025-13-01' 不是日期"
    assert "YYYY-MM-DD" in refused.value.mend("en") and "YYYY-MM-DD" in refused.value.mend("zh")
    assert parse_day("2025-12-01") == date(2025, 12, 1) and parse_day("") is None


def test_step_called_too_early_names_the_step_before(tmp_path: Path) -> None:
    orders, users, _ = write_shop_files(tmp_path / "files", users=5, days=30)
    run_huaxiang("init", str(tmp_path / "shop"), "--from", str(orders), "--from", str(users))
    for step in ("clean", "build", "train", "profile", "report"):
        refused = run_huaxiang(step, str(tmp_path / "shop"))
        assert refused.returncode == 1, (step, refused.stdout, refused.stderr)
        assert "huaxiang run" in refused.stderr, step


def test_no_personal_value_leaves_the_vault(small_shop: Path, tmp_path: Path) -> None:
    """Every name and e-mail of users.csv, and every id of the shop's, in every file and page that the journey leaves."""
    shop = shutil.copytree(small_shop.parent, tmp_path / "all") / "shop"  # its source files lie beside it
    log = "".join(run_huaxiang("--verbose", step, str(shop)).stderr for step in STEPS)
    page = run_huaxiang("profile", str(shop), "1007", "--html").stdout
    for name in ("out.csv", "out.jsonl"):
        assert run_huaxiang("export", str(shop), str(shop / name)).returncode == 0
    with Shop.open(shop, environ={}) as opened:
        lake = {name: repr(opened.engine.rows(opened.lake.table(name))) for name in opened.lake.names()}
    left = [path for path in shop.rglob("*") if path.is_file() and path.suffix != ".parquet"]
    texts = (
        {str(path): path.read_bytes().decode("utf-8", "replace") for path in left} | lake | {"log": log, "page": page}
    )
    planted = [
        value for n in range(60) for value in (f"person{n}@example.com", f'Person {n}"', f"Person {n}<", f"Person {n},")
    ]
    found = {place for place, text in texts.items() for value in planted if value in text}
    assert found == set()
    assert len(texts) > 20


def test_ctrl_c_stops_a_run_and_says_how_the_shop_is(small_shop: Path, tmp_path: Path) -> None:
    shop = shutil.copytree(small_shop.parent, tmp_path / "all") / "shop"
    words = [sys.executable, "-m", "huaxiang.cli", "run", str(shop), "--full"]
    environ = {**os.environ, "LANG": "en_US.UTF-8", "LC_ALL": "en_US.UTF-8"}
    heard = partial(
        signal.signal, signal.SIGINT, signal.SIG_DFL
    )  # a test run in the background ignores it, and so would its children
    with subprocess.Popen(
        words, env=environ, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, preexec_fn=heard
    ) as run:
        assert run.stderr is not None
        run.stderr.readline()  # the first step has begun
        run.send_signal(signal.SIGINT)
        said = run.stderr.read()
    assert (run.returncode, "stopped; the shop is as" in said, "did not expect" in said) == (130, True, False)
