"""The commands of the laboratory, on a tiny run; and what is drawn of their CSVs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch

from resrepro import results
from resrepro.config.experiment import FigureSpec
from resrepro.config.toml_files import find_experiment
from resrepro.errors import UserError
from resrepro.figures.data import read_figure
from resrepro.figures.files import draw_experiment
from resrepro.figures.kinds import FIGURES
from resrepro.models import build
from resrepro.models.weights import save_weights
from resrepro.report.judge import judge
from resrepro.results import csv_rows
from resrepro.results.csv_rows import read_rows, write_rows
from resrepro.results.laboratory import Lesion, PathGradient, SurfacePoint
from resrepro.results.paths import RunFiles
from resrepro.results.unfinished_rows import UnfinishedRows, unfinished_rows
from support.drawings import lines
from support.processes import error, run
from support.records import record
from support.stored_runs import files_of, run_of, stored

FAST = ("--device", "cpu", "--precision", "fp32")


def finished(results_dir: Path) -> RunFiles:
    """A run of ResNet-8 on `shapes`, as far as the laboratory reads it."""
    asked = run_of("resnet8")
    files = stored(results_dir, asked)
    about = results.weights_metadata(asked, results.read_record(files), 10)
    save_weights(files.weights, build("resnet8", num_classes=10, seed=0), about)
    return files


@pytest.mark.usefixtures("few_images")
def test_lesions_and_surface_are_written_beside_the_run(tmp_path: Path) -> None:
    files = finished(tmp_path)
    out = run("lesions", files.folder, "--images", 10, "--draws", 1, *FAST)
    assert "without layer2.0" in out and str(files.paths) in out
    assert [row.num_images for row in read_rows(files.lesions, Lesion)] == [10] * len(read_rows(files.lesions, Lesion))
    assert {row.length for row in read_rows(files.paths, PathGradient)} == {0, 1, 2, 3}
    out = run("surface", files.folder, "--images", 10, "--points", 3, "--plane", *FAST)
    assert "10 training images, 12 points" in out and len(read_rows(files.surface, SurfacePoint)) == 12


@pytest.mark.usefixtures("few_images")
@pytest.mark.parametrize(
    ("command", "name", "model", "options"),
    [
        ("lesions", "lesions", Lesion, ("--images", 10, "--draws", 1)),
        ("surface", "surface", SurfacePoint, ("--images", 10, "--points", 5)),
    ],
)
def test_an_interrupted_measurement_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, name: str, model: type[Lesion], options: tuple
) -> None:
    files = finished(tmp_path)
    run(command, files.folder, *options, *FAST)
    file, add = files.folder / f"{name}.csv", UnfinishedRows.add
    whole = file.read_text()

    def interrupted(self: UnfinishedRows, row: Lesion) -> None:
        if len(self.rows) == 3:
            raise KeyboardInterrupt
        add(self, row)

    with monkeypatch.context() as patch:
        patch.setattr(UnfinishedRows, "add", interrupted)
        out = run(command, files.folder, *options, *FAST, code=130)
    assert re.search(r"stopped after 3 (nets|points); the same command goes on from there\n", out)
    (left,) = files.folder.glob("*.tmp")
    assert read_rows(left, model) == read_rows(file, model)[:3]
    with left.open("a") as torn:
        torn.write("1.0,2.")  # the power is cut while a row is written
    assert "going on" not in run(command, files.folder, *options, "--seed", 1, *FAST)  # removes all that is left
    assert file.read_text() != whole and not [*files.folder.glob("*.tmp")]
    left.write_text("".join(whole.splitlines(keepends=True)[:4]) + "1.0,2.")
    assert "going on after 3 " in run(command, files.folder, *options, *FAST)
    assert file.read_text() == whole and not [*files.folder.glob("*.tmp")]
    left.write_text("what is this?\n")
    assert "going on" not in run(command, files.folder, *options, *FAST)
    assert file.read_text() == whole


@pytest.mark.usefixtures("few_images")
def test_what_is_measured_later_has_a_digest_too(tmp_path: Path) -> None:
    files = finished(tmp_path)
    before = results.read_record(files)
    for _ in range(2):
        out = run("lesions", files.folder, "--images", 10, "--draws", 1, *FAST)
    assert f"{files.lesions}, in place of the one that was there" in out
    record = results.read_record(files)
    assert record.sha256.keys() - before.sha256.keys() == {"lesions.csv", "paths.csv"}
    assert record.model_copy(update={"sha256": before.sha256}) == before
    whole = files.lesions.read_text().splitlines(keepends=True)
    for text in ("".join(whole[:3]), "".join(whole).replace("whole,0", "whole,1")):
        files.lesions.write_text(text)
        with pytest.raises(UserError, match=f"measure it again: resrepro lesions {files.folder}"):
            results.check_files(files, record, "lesions.csv")
    files.lesions.unlink()
    with pytest.raises(UserError, match="missing; restore it, or measure it again"):
        results.check_files(files, record, "lesions.csv")


def test_a_measurement_that_is_killed_or_damaged_gets_no_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = finished(tmp_path)
    row = SurfacePoint(x=0.0, y=0.0, loss=1.0, loss_error=0.1, error_pct=9.0, num_images=10)
    results.write_measured(files, {files.surface: (SurfacePoint, [row])})
    record = results.read_record(files)
    assert record is not None and "surface.csv" in record.sha256
    files.surface.write_text("damaged")
    completed = results.write_record(files, record, kept=("predictions.csv",))  # what was measured later is not its own
    assert results.damaged_files([files.surface], completed)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("resrepro.results.run_store.sha256", lambda _: pytest.fail("raised before"))
        patch.setattr(csv_rows, "write_rows", interrupted)
        results.write_measured(files, {files.surface: (SurfacePoint, [row])})
    after = results.read_record(files)
    assert after is not None and "surface.csv" not in after.sha256


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("few_images")
def test_untrained_nets_are_measured_and_drawn(tmp_path: Path) -> None:
    words = ("--depths", "8,14", "--seeds", "0", "--images", "4", "--dataset", "shapes", *FAST)
    out = run("initialization", *words, "--results-dir", tmp_path)
    assert "plain-nobn" in out and "resnet" in out
    assert {file.name for file in tmp_path.rglob("*.*")} == {
        "correlations.csv",
        "block-gradients.csv",
        "initialization.png",
    }
    assert "10" in error("initialization", "--depths", "10") and "odd number" in error("surface", "x", "--points", 4)


def test_a_missing_or_unfinished_run_is_one_line(tmp_path: Path) -> None:
    assert "lesions: there is no run '" in error("lesions", tmp_path / "none")
    assert "surface: there is no run '" in error("surface", tmp_path)
    files = finished(tmp_path)
    shutil.copy(files.weights, files.checkpoint)
    results.write_asked(files, run_of("resnet8"))
    files.record.unlink()
    assert "not finished" in error("lesions", files.folder)


def lesion(kind: str, draw: int, blocks: str, error_pct: float) -> Lesion:
    values = {"num_blocks": len(blocks.split()), "kendall_tau": 1.0, "loss": 1.0, "num_images": 2000}
    return Lesion.model_validate({"kind": kind, "draw": draw, "blocks": blocks, "error_pct": error_pct, **values})


LESIONS = [lesion("whole", 0, "none", 8.0)] + [
    lesion("one", i, name, error_pct)
    for i, (name, error_pct) in enumerate([("layer1.0", 30.0), ("layer2.0", 60.0), ("layer3.0", 20.0)])
]


def test_the_figure_of_lesions_has_their_errors_and_says_what_is_to_measure(tmp_path: Path) -> None:
    experiment = find_experiment("lesions")
    by_name = {one.name: one for one in experiment.runs}
    measured, other = (by_name[f"resnet{depth}"] for depth in (20, 56))
    for one in (measured, other):
        results.write_record(files_of(tmp_path, one), record(one))
    write_rows(files_of(tmp_path, measured).lesions, Lesion, LESIONS)
    paths = [
        PathGradient(length=i, num_paths=n, draw=0, gradient_norm=g, num_images=9)
        for i, (n, g) in enumerate([(1, 3.0), (3, 1.0), (3, 1.0), (1, 1.0)])
    ]
    write_rows(files_of(tmp_path, measured).paths, PathGradient, paths)
    (spec,) = experiment.figures
    shown = read_figure(experiment, spec, FIGURES["lesions"], tmp_path)
    assert shown.data.runs[other.name].command == f"resrepro lesions {files_of(tmp_path, other).folder}"
    figure = FIGURES["lesions"].draw(shown.rows, shown.spec, shown.data)
    one, _, _, by_path = figure.axes
    assert lines(one)[0] == ([1.0, 2.0, 3.0], [30.0, 60.0, 20.0])
    assert lines(by_path)[0][1] == [30.0, 30.0, 30.0, 10.0]  # of ten
    assert draw_experiment(experiment, tmp_path, formats=("png",)).problems == ()


def test_the_claims_on_lesions_are_judged_by_the_median_rise(tmp_path: Path) -> None:
    experiment = find_experiment("lesions")
    net = next(one for one in experiment.runs if one.name == "resnet20")
    results.write_record(files_of(tmp_path, net), record(net))
    rise, against_plain, *_ = experiment.claims

    def judged(claim: object) -> tuple[str, str]:
        (found,) = judge([(experiment, claim)], tmp_path)
        return found.status, found.detail

    assert "resrepro lesions" in judged(rise)[1]
    write_rows(files_of(tmp_path, net).lesions, Lesion, LESIONS)
    status, detail = judged(rise)
    assert status == "inconsistent (one run)" and "22.00" in detail  # 30 - 8, and ten are claimed
    alike = [lesion("one", i, f"layer1.{i}", 18.0 + i / 2) for i in range(3)]
    write_rows(files_of(tmp_path, net).lesions, Lesion, [LESIONS[0], *alike])
    status, detail = judged(rise)
    assert status == "inconclusive" and "10.50" in detail  # within the noise of the images
    write_rows(files_of(tmp_path, net).lesions, Lesion, alike)
    assert "no row of the whole net" in judged(rise)[1]
    assert judged(against_plain)[0] == "not run"


def test_the_figure_of_a_surface_has_the_line_the_contours_and_the_relief(tmp_path: Path) -> None:
    experiment = find_experiment("loss-surface")
    net = next(one for one in experiment.runs if one.name == "resnet20")
    results.write_record(files_of(tmp_path, net), record(net))
    points = [
        SurfacePoint(x=x, y=y, loss=0.1 + x**2 + y**2, loss_error=0.01, error_pct=1.0, num_images=5)
        for y in (-1.0, 0.0, 1.0)
        for x in (-1.0, 0.0, 1.0)
    ]
    write_rows(files_of(tmp_path, net).surface, SurfacePoint, points)
    spec: FigureSpec = experiment.figures[0]
    shown = read_figure(experiment, spec, FIGURES["surface"], tmp_path)
    figure = FIGURES["surface"].draw(shown.rows, shown.spec, shown.data)
    assert len(figure.axes) == 3 and lines(figure.axes[0]) == [([-1.0, 0.0, 1.0], [1.1, 0.1, 1.1])]
    figure.savefig(tmp_path / "f.png")  # lays it out


def test_bn_s_deviation_of_torch_s_own_file_is_read(tmp_path: Path) -> None:
    torch.save({"state_dict": build("resnet8", num_classes=10, seed=0).state_dict()}, tmp_path / "net.pth")
    out = run("responses", tmp_path / "net.pth", "--arch", "resnet8", "--output-dir", tmp_path)
    assert out.count(" 1.000") == 7


def test_one_process_measures_a_file_at_a_time_whatever_its_options(tmp_path: Path) -> None:
    file = tmp_path / "surface.csv"
    with (
        unfinished_rows(file, SurfacePoint, "one"),
        pytest.raises(UserError, match="another process is measuring it"),
        unfinished_rows(file, SurfacePoint, "other"),
    ):
        pass
    assert [*tmp_path.glob("*.tmp")] == []
