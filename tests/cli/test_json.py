"""What programs read: `--json` and `--format` print that and nothing else, with keys that stay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from resrepro.cli.options import console
from resrepro.config.toml_files import find_experiment
from resrepro.report.tables import TABLES
from resrepro.results import run_files
from support.processes import run
from support.stored_runs import store_curve

KEYS = {  # documented in docs/python.md
    ("list",): {
        "name", "title", "reproduces", "beyond_paper", "dataset", "cost", "num_runs", "num_finished", "problems",
    },
    ("show", "cifar-plain"): {
        "name", "title", "reproduces", "beyond_paper", "dataset", "cost", "num_runs", "num_finished", "problems",
        "expect", "runs",
    },
    ("table", "6"): {"title", "columns", "rows", "notes"},
    ("summary",): {"arch", "num_layers", "num_parameters", "num_multiply_adds", "num_blocks", "output_sizes"},
    ("verify",): {"run", "equal", "differences", "notes", "net_left_out"},
}  # fmt: skip


def printed(*words: object, code: int = 0) -> Any:
    return json.loads(run(*words, "--json", code=code))


@pytest.mark.parametrize("words", KEYS, ids=lambda words: words[0])
def test_json_has_the_documented_keys(words: tuple[str, ...], tmp_path: Path) -> None:
    store_curve(tmp_path, "plain20", 9.5)
    where = () if words[0] == "summary" else ("--results-dir", tmp_path)
    found = printed(*words, *where, code=words == ("verify",))  # the record's errors are not those of its curve
    assert {*(found[0] if isinstance(found, list) else found)} == KEYS[words]
    page = (Path(__file__).parents[2] / "docs/python.md").read_text()
    assert [key for key in sorted(KEYS[words]) if f"`{key}`" not in page] == []


def test_show_says_how_far_each_run_is(tmp_path: Path) -> None:
    store_curve(tmp_path, "plain20", 9.5)
    first, second, *_ = printed("show", "cifar-plain", "--results-dir", tmp_path)["runs"]
    assert (first["run"], first["state"], first["final_test_error_pct"]) == ("cifar10/plain20/seed0", "finished", 9.5)
    assert first["test_error_pct"] == 9.5
    assert (second["state"], second["iteration"], second["final_test_error_pct"]) == ("not started", 0, None)


def test_verify_says_what_differs(tmp_path: Path) -> None:
    store_curve(tmp_path, "plain20", 9.5)
    curves = tmp_path / "cifar10/plain20/seed0/curves.csv"
    curves.write_text(curves.read_text().replace("9.5", "9.6"))
    (found,) = printed("verify", "--results-dir", tmp_path, code=1)
    assert found["run"] == "cifar10/plain20/seed0" and found["equal"] == []
    assert found["differences"][0].startswith(f"{curves}: damaged")


def test_a_table_is_printed_in_a_format_alone(tmp_path: Path) -> None:
    where = ("--results-dir", tmp_path)
    assert run("table", "2", "--format", "md", *where).startswith("**Table 2: ")
    assert run("table", "2", "--format", "csv", *where).startswith("method,paper top-1 (%),ours top-1 (%),")
    assert run("table", "2", "--format", "latex", *where).startswith("\\begin{table}\n")
    assert not (tmp_path / "figures").exists()


def test_list_is_a_line_each_in_the_papers_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_width", 80)
    lines = run("list", "--results-dir", tmp_path).splitlines()
    assert all(len(line) <= 80 for line in lines)
    names = [line.split()[0] for line in lines[: lines.index("")] if not line.endswith(":")][1:]
    assert names == [entry["name"] for entry in printed("list", "--results-dir", tmp_path)]
    order = [
        "plain20-vs-plain56",
        "constructed-identity",
        "plain34-vs-res34",
        "cifar-plain",
        "cifar-resnet",
        "cifar-1202",
        "layer-responses",
        "plain-longer",
        "resnext",
    ]
    assert sorted(order, key=names.index) == order
    assert lines[1] == "the paper:"
    assert not any("you have no runs of these yet" in line for line in lines)
    run_files(tmp_path / "quickstart", find_experiment("quickstart").runs[0]).folder.mkdir(parents=True)
    out = run("list", "--results-dir", tmp_path)
    assert f"quickstart: you have no runs of these yet; figures show those in {tmp_path}/NAME\n" in out


@pytest.mark.parametrize(("which", "width"), [("4", 80), ("6", 80), ("2", 60)])
def test_a_table_keeps_its_columns_and_the_words_of_their_names(
    which: str, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_width", width)
    made = TABLES[int(which)](tmp_path)
    lines = run("table", which, "--results-dir", tmp_path).splitlines()
    first_row = next(index for index, line in enumerate(lines) if line.startswith(f"{made.rows[0][0]} "))
    words = " ".join(lines[1:first_row]).split()
    assert sorted(words) == sorted(" ".join(made.columns).split())


@pytest.mark.parametrize("which", ["2", "6"])
def test_a_table_fits_60_columns(which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_width", 60)
    text = run("table", which, "--results-dir", tmp_path).partition("10-crop errors")[0].partition("ours: last")[0]
    assert all(len(line) <= 60 for line in text.splitlines()) and "…" not in text
    assert text.count("not run") == (4 if which == "2" else 6)
