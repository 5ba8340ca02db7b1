"""Tables 1 to 6: the paper's numbers, ours beside them, and what is missing."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from resrepro import paper
from resrepro.report.tables import TABLES
from resrepro.results.records import RunRecord
from resrepro.results.tables import Table
from support.stored_runs import store_errors, table_rows


def published(number: int, results_dir: Path) -> list[tuple[str, ...]]:
    """The cells of the paper's columns, without those where it gives nothing."""
    found = table_rows(number, results_dir)
    return [
        (name, *(cell for column, cell in row.items() if column.startswith("paper") and cell != "–"))
        for name, row in found.items()
    ]


def test_tables_2_to_5_have_the_papers_numbers(tmp_path: Path) -> None:
    assert published(2, tmp_path) == [
        ("plain-18", "27.94"), ("plain-34", "28.54"), ("ResNet-18 A", "27.88"), ("ResNet-34 A", "25.03"),
    ]  # fmt: skip
    assert published(3, tmp_path) == [
        ("VGG-16", "28.07", "9.33"), ("GoogLeNet", "9.15"), ("PReLU-net", "24.27", "7.38"),
        ("plain-34", "28.54", "10.02"), ("ResNet-34 A", "25.03", "7.76"), ("ResNet-34 B", "24.52", "7.46"),
        ("ResNet-34 C", "24.19", "7.40"), ("ResNet-50", "22.85", "6.71"), ("ResNet-101", "21.75", "6.05"),
        ("ResNet-152", "21.43", "5.71"),
    ]  # fmt: skip
    assert published(4, tmp_path) == [
        ("VGG (test set)", "8.43"), ("GoogLeNet", "7.89"), ("VGG v5", "24.40", "7.10"),
        ("PReLU-net", "21.59", "5.71"), ("BN-inception", "21.99", "5.81"), ("ResNet-34 B", "21.84", "5.71"),
        ("ResNet-34 C", "21.53", "5.60"), ("ResNet-50", "20.74", "5.25"), ("ResNet-101", "19.87", "4.60"),
        ("ResNet-152", "19.38", "4.49"),
    ]  # fmt: skip
    assert published(5, tmp_path) == [
        ("VGG", "7.32"), ("GoogLeNet", "6.66"), ("VGG v5", "6.80"), ("PReLU-net", "4.94"), ("BN-inception", "4.82"),
        ("ResNet, six models", "3.57"),
    ]  # fmt: skip
    assert table_rows(3, tmp_path)["GoogLeNet"]["paper top-1 (%)"] == "–"


def test_table_6_has_the_papers_numbers() -> None:
    assert [r.error_pct for r in paper.TABLE_6] == [
        9.38, 8.81, 8.22, 8.39, 7.54, 8.80, 8.75, 7.51, 7.17, 6.97, 6.43, 7.93,
    ]  # fmt: skip
    assert paper.TEST_ERROR_PCT["cifar10", "resnet110"] == 6.61


def test_table_1_counts_what_the_paper_gives(tmp_path: Path) -> None:
    table = table_rows(1, tmp_path)
    golden = {
        "ResNet-18 A": ("2 2 2 2", "1.8", "1.79"), "ResNet-34 A": ("3 4 6 3", "3.6", "3.64"),
        "ResNet-50": ("3 4 6 3", "3.8", "3.86"), "ResNet-101": ("3 4 23 3", "7.6", "7.57"),
        "ResNet-152": ("3 8 36 3", "11.3", "11.28"),
    }  # fmt: skip
    assert list(table) == list(golden)
    for name, (blocks, paper_e9, ours_e9) in golden.items():
        row = table[name]
        assert row["blocks, paper"] == row["blocks, ours"] == blocks
        assert row["output sizes, paper"] == row["output sizes, ours"] == "112 56 28 14 7"
        assert (row["FLOPs, paper (1e9)"], row["FLOPs, ours (1e9)"]) == (paper_e9, ours_e9)
    assert table["ResNet-50"]["difference"] == "+0.06"


def test_table_6_shows_mean_spread_difference_and_seeds(tmp_path: Path) -> None:
    store_errors(tmp_path, "cifar10", "resnet20", [8.5])
    store_errors(tmp_path, "cifar10", "resnet110", [6.5, 6.7, 6.9, 6.9, 6.5, 6.9])  # five declared seeds, and a sixth
    table = table_rows(6, tmp_path)
    one, six = table["ResNet 20"], table["ResNet 110"]
    assert (one["ours (%)"], one["difference"], one["seeds"]) == ("8.50", "-0.25", "1")
    assert (six["ours (%)"], six["seeds"], six["ours, best seed (%)"]) == ("6.73±0.20", "6", "6.50")
    assert (six["paper error (%)"], six["difference"]) == ("6.43 (6.61±0.16)", "+0.12")  # to the paper's mean
    assert len(table) == 12 and table["Maxout"]["seeds"] == ""
    column = "ours, BN moving (%)"
    assert [row[column] for row in (one, six, table["Maxout"], table["ResNet 56"])] == ["8.75", "6.98±0.20", "", ""]


def test_missing_nets_are_named_with_the_command_that_trains_them(tmp_path: Path) -> None:
    store_errors(tmp_path, "cifar10", "resnet20", [8.5])
    table = TABLES[6](tmp_path)
    assert table_rows(6, tmp_path)["ResNet 1202"]["ours (%)"] == "not run"
    six_notes = "\n".join(table.notes)
    where = f"--results-dir {tmp_path}"
    nets = "ResNet-32, ResNet-44, ResNet-56, ResNet-110"
    assert f"{nets}: not run; to train: resrepro run cifar-resnet {where}\n" in six_notes
    assert f"ResNet-1202: not run; to train: resrepro run cifar-1202 {where}" in six_notes
    assert "ResNet-20" not in six_notes and "not run" in table.to_markdown()
    three_notes = "\n".join(TABLES[3](tmp_path).notes)
    assert "plain-34, ResNet-34 A: not run; to train: resrepro run imagenet-depth" in three_notes
    assert "ResNet-50, ResNet-101, ResNet-152: not run; to train: resrepro run ensemble" in three_notes


def test_a_diverged_run_is_shown_as_such(tmp_path: Path) -> None:
    store_errors(tmp_path, "cifar10", "resnet20", [None])
    store_errors(tmp_path, "cifar10", "resnet32", [7.0, None, 7.2])
    table = table_rows(6, tmp_path)
    only, some = table["ResNet 20"], table["ResNet 32"]
    assert (only["ours (%)"], only["difference"], only["seeds"]) == ("1 diverged", "", "0")
    assert (some["ours (%)"], some["difference"], some["seeds"]) == ("7.10±0.14, 1 diverged", "-0.41", "2")
    assert not any("ResNet-20" in note or "ResNet-32" in note for note in TABLES[6](tmp_path).notes)


@pytest.mark.parametrize("number", [2, 3])
def test_the_center_crop_is_never_shown_as_10_crop(number: int, tmp_path: Path) -> None:
    store_errors(tmp_path, "imagenet", "resnet34-A", [26.66, 26.77])
    row = table_rows(number, tmp_path)["ResNet-34 A"]
    assert (row["ours top-1 (%)"], row["top-1 difference"], row["seeds"]) == ("no 10-crop error", "", "0")
    assert "26." not in TABLES[number](tmp_path).to_csv()
    assert any(
        n.startswith("ResNet-34 A: trained; to measure: resrepro evaluate ") for n in TABLES[number](tmp_path).notes
    )


def test_the_single_view_is_measured_by_a_command_without_a_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_errors(tmp_path, "cifar10", "resnet20", [8.5])
    monkeypatch.setattr(RunRecord, "error_pct", lambda *_: None)
    command = f"resrepro evaluate {tmp_path / 'cifar10' / 'resnet20' / 'seed0'}"
    assert f"ResNet-20: trained; to measure: {command}" in TABLES[6](tmp_path).notes


def test_recorded_10_crop_errors_fill_their_own_table_and_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_errors(tmp_path, "imagenet", "resnet34-A", [26.5, 26.7])
    recorded = {("10-crop", 1): 25.0, ("10-crop", 5): 8.0, ("multi-scale", 1): 21.0}
    monkeypatch.setattr(RunRecord, "error_pct", lambda _, protocol, top: recorded.get((protocol, top)))
    row = table_rows(3, tmp_path)["ResNet-34 A"]
    assert (row["ours top-1 (%)"], row["top-1 difference"]) == ("25.00±0.00", "-0.03")
    assert (row["ours top-5 (%)"], row["top-5 difference"], row["seeds"]) == ("8.00±0.00", "+0.24", "2")


def test_markdown_and_csv_hold_the_same_cells(tmp_path: Path) -> None:
    table = TABLES[2](tmp_path)
    assert table.to_csv().splitlines()[1] == "plain-18,27.94,,,not run,,0"
    assert "| plain-18 | 27.94 | not run |  | 0 |\n" in table.to_markdown()


def test_in_csv_and_json_a_number_stands_alone(tmp_path: Path) -> None:
    store_errors(tmp_path, "cifar10", "resnet20", [8.5])
    store_errors(tmp_path, "cifar10", "resnet110", [6.5, None, 6.7])
    rows = {row["parameters (1e6)"]: row for row in TABLES[6](tmp_path).to_json()["rows"]}
    ours = [[rows[net][f"ours (%){part}"] for part in ("", " std", " note")] for net in (0.27, 1.7, 19.4)]
    assert ours == [[8.5, None, None], [6.6, 0.14, "1 diverged"], [None, None, "not run"]]
    papers = [rows[1.7][f"paper error (%){part}"] for part in ("", " std", " note")]
    assert papers == [6.61, 0.16, "best 6.43"] and rows[1.7]["seeds"] == 2
    header, *lines = csv.reader(TABLES[6](tmp_path).to_csv().splitlines())
    assert header == list(rows[1.7]) and all(len(line) == len(header) for line in lines)
    assert "–" not in TABLES[3](tmp_path).to_csv()


def test_latex_escapes_and_aligns() -> None:
    rows = (("a_b & 50 %", "6.43 (6.61±0.16)", "-0.46"), ("–", "not run", ""))
    latex = Table(title="T #1", columns=("net", "ours (%)", "difference"), rows=rows, notes=("n",)).to_latex()
    assert r"\caption{T \#1}" in latex and r"\begin{tabular}{lrr}" in latex
    assert "a\\_b \\& 50 \\% & 6.43 (6.61$\\pm$0.16) & $-$0.46 \\\\\n-- & not run &  \\\\\n" in latex
    assert latex.endswith("\\end{tabular}\n\\par\\footnotesize n\n\\end{table}\n")
    assert r"\begin{tabular}{ll}" in Table(title="T", columns=("net", "ours"), rows=(), notes=()).to_latex()


def test_a_cell_that_a_spreadsheet_would_compute_is_a_text() -> None:
    cells = ("=1+1", "@SUM(A1)", "+x", "-x", "-0.46", "+0.12", "plain")
    table = Table(title="T", columns=("=a",) * len(cells), rows=(cells,), notes=())
    header, row = csv.reader(table.to_csv().splitlines())
    assert header == ["'=a"] * len(cells)
    assert row == ["'=1+1", "'@SUM(A1)", "'+x", "'-x", "-0.46", "+0.12", "plain"]
