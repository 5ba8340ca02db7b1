"""The report writes into its own folder alone, and has all its figures also if the results folder is read-only."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import resrepro
from resrepro.cli import app
from resrepro.config.toml_files import find_experiment
from resrepro.report.page_figures import PageFigures

STORED = Path(resrepro.__file__).parent.parent / "results/cifar10"


@pytest.fixture
def results_dir(tmp_path: Path) -> Path:
    """Return a read-only folder with the two runs of Fig. 1."""
    folder = tmp_path / "results"
    for run in find_experiment("plain20-vs-plain56").runs:
        shutil.copytree(STORED / f"{run.name}-decay-all/seed0", folder / run.path)
        path = folder / run.path / "run.json"
        record = json.loads(path.read_text()) | {"name": run.name, "recipe": run.recipe.model_dump(mode="json")}
        path.write_text(json.dumps(record))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return folder


def report(results_dir: Path, folder: Path) -> tuple[str, str]:
    words = ["report", "--results-dir", str(results_dir), "--output-dir", str(folder)]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return (folder / "report.html").read_text(), (folder / "report.md").read_text()


def state(folder: Path) -> dict[Path, float]:
    return {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}


def test_a_read_only_results_folder_gives_all_figures(results_dir: Path, tmp_path: Path) -> None:
    before, out = state(results_dir), tmp_path / "out"
    html, markdown = report(results_dir, out)
    assert state(results_dir) == before, "the report wrote into the results folder"
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", markdown)
    assert len(pictures) > 2 and html.count("<svg") == len(pictures)
    assert "figures/fig1.svg" in pictures and {f"figures/{p.name}" for p in (out / "figures").iterdir()} == {*pictures}
    assert all((out / picture).read_text().startswith("<?xml") for picture in pictures)


def test_a_figure_reads_the_files_of_a_run_once(results_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: Counter[str] = Counter()
    read_text, read_bytes = Path.read_text, Path.read_bytes

    def counted(read: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(path: Path, *arguments: Any, **options: Any) -> Any:
            if path.is_relative_to(results_dir):
                reads["/".join(path.parts[-3:])] += 1
            return read(path, *arguments, **options)

        return wrapper

    monkeypatch.setattr(Path, "read_text", counted(read_text))
    monkeypatch.setattr(Path, "read_bytes", counted(read_bytes))
    blocks = PageFigures(results_dir, []).of(find_experiment("plain20-vs-plain56"), missing=True)
    assert len(blocks) == 1 and set(reads.values()) == {1}, reads
    assert {f"{run}/seed0/{file}" for run in ("plain20", "plain56") for file in ("curves.csv", "run.json")} <= {*reads}


def test_what_lacks_runs_and_shows_no_new_one_is_named_alone(results_dir: Path) -> None:
    """Of the nets of Fig. 6 only the two of Fig. 1 are there."""
    figures = PageFigures(results_dir, [])
    drawn = {}
    for name in ("plain20-vs-plain56", "cifar-resnet"):
        (drawn[name], *_) = figures.of(find_experiment(name), missing=True)
    assert drawn["plain20-vs-plain56"].drawing
    fig6 = drawn["cifar-resnet"]
    assert fig6.drawing is None and any("resrepro run cifar-resnet" in note for note in fig6.notes)
    alone, *_ = PageFigures(results_dir, []).of(find_experiment("cifar-resnet"), missing=True)
    assert alone.drawing  # the first to show them
