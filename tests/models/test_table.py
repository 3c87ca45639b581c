"""`huaxiang table`: any plain table through the exam."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from huaxiang.errors import ModelError, SourceError
from huaxiang.models.table import TableReport, run_table, show_table

ROWS = 200
SHOPPERS = Path(__file__).parents[3] / "shared" / "data" / "online_shoppers" / "online_shoppers_intention.csv"


def write_csv(
    path: Path, *, rows: int = ROWS, delimiter: str = ",", label: str = "buys", encoding: str = "utf-8", seed: int = 1
) -> Path:
    """A table whose `income` and `city` tell whether a user buys."""
    random = np.random.default_rng(seed)
    lines = [delimiter.join(("customer_id", "income", "city", "noise", "same", label))]
    for at in range(rows):
        income, city = random.normal(), "北京" if random.random() < 0.5 else "上海"
        buys = "yes" if income + (city == "北京") + 0.5 * random.normal() > 0.5 else "no"
        lines.append(delimiter.join((str(at + 1), f"{income:.3f}", city, f"{random.random():.3f}", "x", buys)))
    path.write_text("\n".join(lines), encoding=encoding)
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> TableReport:
    return run_table(write_csv(tmp_path_factory.mktemp("table") / "shop.csv"))


def test_json_is_the_best_model_and_every_figure_with_its_spread(report: TableReport) -> None:
    found = report.to_dict()
    assert set(found) == {"best", "models"}
    assert found["best"] in found["models"]
    assert set(found["models"]) == {"logistic", "tree", "lightgbm", "mlp"}
    metrics = {"roc_auc", "pr_auc", "accuracy", "precision", "recall", "f1", "log_loss", "brier"}
    for figures in found["models"].values():
        assert set(figures) == metrics
        assert all(set(one) == {"mean", "sd"} for one in figures.values())


def test_planted_signal_is_found_and_ids_and_constants_are_left_out(report: TableReport) -> None:
    assert report.models["logistic"]["roc_auc"]["mean"] > 0.9
    assert set(report.kinds) == {"income", "city", "noise"}
    notes = " ".join(note["en"] for note in report.notes)
    assert "customer_id" in notes
    assert "same" in notes
    assert report.positive == "yes"


def test_same_seed_gives_the_same_figures(report: TableReport, tmp_path: Path) -> None:
    assert run_table(write_csv(tmp_path / "shop.csv")).to_json() == report.to_json()


@pytest.mark.parametrize(
    ("name", "delimiter", "encoding"),
    [
        ("a.csv", ";", "utf-8"),
        ("a.tsv", "\t", "utf-8"),
        ("a.csv", ",", "gb18030"),
        ("a.csv", ",", "utf-8-sig"),
        ("a.csv", ",", "utf-16"),
    ],
    ids=["semicolons", "tabs", "gbk", "bom", "utf-16"],
)
def test_other_separators_and_encodings_read_the_same(
    name: str, delimiter: str, encoding: str, report: TableReport, tmp_path: Path
) -> None:
    assert run_table(write_csv(tmp_path / name, delimiter=delimiter, encoding=encoding)).to_json() == report.to_json()


def test_gzip_and_parquet_are_read(report: TableReport, tmp_path: Path) -> None:
    packed = tmp_path / "a.csv.gz"
    packed.write_bytes(gzip.compress(write_csv(tmp_path / "a.csv").read_bytes()))
    assert run_table(packed).to_json() == report.to_json()
    random = np.random.default_rng(1)
    x = random.normal(size=100)
    pq.write_table(pa.table({"x": x, "y": x * 3 + random.normal(size=100)}), tmp_path / "a.parquet")
    found = run_table(tmp_path / "a.parquet")
    assert set(found.models) == {"linear", "tree", "lightgbm", "mlp"}
    assert found.best == "linear"
    assert set(found.models["linear"]) == {"mse", "rmse", "mae", "r2", "spearman"}


def test_three_classes_are_a_class_label(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    x = random.normal(size=150)
    kind = np.array(["low", "mid", "top"])[np.digitize(x, [-0.5, 0.5])]
    (tmp_path / "a.csv").write_text("x,kind\n" + "\n".join(f"{a},{b}" for a, b in zip(x, kind, strict=True)))
    found = run_table(tmp_path / "a.csv")
    assert found.card.kind == "class"
    assert found.models[found.best]["accuracy"]["mean"] > 0.85


def test_shuffled_labels_are_no_better_than_chance(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    rows = "\n".join(f"{random.normal()},{random.normal()},{random.integers(0, 2)}" for _ in range(600))
    (tmp_path / "a.csv").write_text("a,b,y\n" + rows)
    found = run_table(tmp_path / "a.csv")
    assert found.models[found.best]["roc_auc"]["mean"] == pytest.approx(0.5, abs=0.07)


def test_column_that_tells_the_label_is_warned_of(tmp_path: Path) -> None:
    rows = "\n".join(f"{at % 7},{(at % 2) * 10 + 3},{at % 2}" for at in range(60))
    (tmp_path / "a.csv").write_text("a,leak,y\n" + rows)
    warned = [note["en"] for note in run_table(tmp_path / "a.csv").notes if note["en"].startswith("WARNING")]
    assert len(warned) == 1
    assert "leak" in warned[0]


def test_rows_of_another_width_and_without_label_are_counted(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv")
    path.write_text(path.read_text() + "\n1,2,3\n999,1.0,北京,.5,x,")
    notes = " ".join(note["en"] for note in run_table(path).notes)
    assert "1 row without 6 fields" in notes
    assert "1 row without a label" in notes


def bad(content: str | bytes, name: str = "a.csv") -> tuple[str, bytes]:
    return name, content if isinstance(content, bytes) else content.encode()


MANY = "".join(f"{at},{at % 2}\n" for at in range(40))


@pytest.mark.parametrize(
    ("file", "label", "message"),
    [
        (bad(""), "last", "is empty"),
        (bad("\n\n"), "last", "is empty"),
        (bad("a,y\n1,0\n2,1\n"), "last", "2 rows with a label; an exam needs at least 20"),
        (bad(f"a,y\n{MANY}"), "yy", "no column 'yy'; did you mean y"),
        (bad("a,y\n" + "1,1\n" * 30), "last", "only one value"),
        (bad("a,y\n" + "1,\n" * 30), "last", "every value of the label 'y' is missing"),
        (bad("a,y\n" + "".join(f"{at},t{at}\n" for at in range(60))), "last", "60 different texts"),
        (bad("a,y\n" + "1,0\n" * 30 + "2,1\n"), "last", "a class with 1 row"),
        (bad("a,y\n" + "1,0\n1,1\n" * 30), "last", "no column of"),
        (bad("a,a,y\n1,2,3\n"), "last", "names the column 'a' twice"),
        (bad("," * 100_000 + "\n1\n"), "last", "has 100001 columns"),
        (bad(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0" * 100), "last", "binary data"),
        (bad(gzip.compress(MANY.encode())[:40], "a.csv.gz"), "last", "cannot be read as a table"),
        (bad(b"PAR1 not really", "a.parquet"), "last", "cannot be read as a table"),
    ],
    ids=[
        "empty",
        "blank",
        "few",
        "no-label",
        "one-class",
        "label-missing",
        "id-label",
        "rare",
        "no-features",
        "headers",
        "commas",
        "binary",
        "cut-gzip",
        "bad-parquet",
    ],
)
def test_bad_table_gets_one_clear_message(file: tuple[str, bytes], label: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / file[0]
    path.write_bytes(file[1])
    with pytest.raises((SourceError, ModelError), match=message) as caught:
        run_table(path, label)
    assert caught.value.say("zh") != caught.value.say("en")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no file .*nothing\.csv"):
        run_table(tmp_path / "nothing.csv")


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("width", [80, 120])
def test_score_card_fits_the_terminal(report: TableReport, lang: str, width: int) -> None:
    console = Console(width=width, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as captured:
        show_table(report, console, lang)  # type: ignore[arg-type]
    assert "ROC-AUC" in captured.get()
    assert "LightGBM" in captured.get()


@pytest.mark.skipif(not SHOPPERS.is_file(), reason=f"{SHOPPERS.name} is absent")
def test_online_shoppers_reach_the_reference_area() -> None:
    found = run_table(SHOPPERS, "Revenue", folds=2)
    assert found.best == "lightgbm"
    assert found.models["lightgbm"]["roc_auc"]["mean"] > 0.925


def test_label_that_can_be_negative_has_no_times_the_average(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    rows = "".join(f"{x:.3f},{x + random.normal():.3f}\n" for x in random.normal(size=300))
    (tmp_path / "t.csv").write_text("x,change\n" + rows, encoding="utf-8")
    assert run_table(tmp_path / "t.csv").card.lift == {}
