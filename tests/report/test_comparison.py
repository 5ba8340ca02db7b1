"""Two runs compared image by image, from the predictions that they stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from resrepro import results
from resrepro.report import comparison
from resrepro.report.comparison import Comparison
from resrepro.report.seeds import Seed
from resrepro.results import csv_rows
from resrepro.results.paths import RunFiles
from resrepro.results.records import Prediction
from support.judging import decide
from support.processes import error, run
from support.recipes import tiny_run
from support.records import record
from support.stored_runs import finish, run_of


def predicted(results_dir: Path, name: str, wrong: set[int], num_images: int = 20, label: int = 3) -> RunFiles:
    """Store a finished run that is wrong on these images; with averaged BN statistics, also on the last one."""
    own = run_of("resnet8", name)
    files = results.run_files(results_dir, own)
    rows = [
        Prediction(image=i, label=label, moving=label + (i in wrong), bn_averaged=label + (i in wrong | {19}))
        for i in range(num_images)
    ]
    csv_rows.write_rows(files.predictions, Prediction, rows)
    results.write_record(files, record(own))
    return files


def test_the_images_are_counted_by_which_net_is_wrong(tmp_path: Path) -> None:
    first = predicted(tmp_path, "first", {0, 1, 2, 3, 4, 5, 6, 7})
    second = predicted(tmp_path, "second", {0, 1, 8})
    moving, averaged = comparison.compare(first, second).values()
    assert moving == Comparison(both_right=11, first_alone_wrong=6, second_alone_wrong=1, both_wrong=2)
    assert averaged == Comparison(both_right=10, first_alone_wrong=6, second_alone_wrong=1, both_wrong=3)
    assert (moving.num_images, moving.num_wrong) == (20, (8, 3))
    assert moving.p_value == pytest.approx(2 * (1 + 7) / 2**7)  # at most one of seven
    backward = comparison.compare(second, first)["moving"]
    assert backward.num_wrong == (3, 8) and backward.p_value == pytest.approx(moving.p_value)
    assert Comparison(both_right=3, first_alone_wrong=0, second_alone_wrong=0, both_wrong=1).p_value == 1.0


def test_the_command_prints_errors_counts_and_p(tmp_path: Path) -> None:
    folder = predicted(tmp_path, "first", {0, 1, 2, 3, 4, 5, 6, 7}).folder
    predicted(tmp_path, "second", {0, 1, 8})
    out = run("compare", folder, "second", "--results-dir", tmp_path)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[:2] == ["first: shapes/first/seed0", "second: shapes/second/seed0"]
    # Wilson: (p + z^2/2n +- z sqrt(p (1-p) / n + z^2 / 4n^2)) / (1 + z^2/n), p = 0.4, n = 20
    assert "error of the first (%) 40.00 (21.88 to 61.34) 45.00 (25.82 to 65.79)" in lines
    assert {"first minus second +25.00 +25.00", "only the first wrong 6 6", "both wrong 2 3"} < {*lines}
    assert "McNemar's exact p 0.125 0.125" in lines
    elsewhere = predicted(tmp_path / "elsewhere", "first", {0, 1, 8}).folder
    lines = run("compare", folder, elsewhere).splitlines()
    assert lines[:2] == [f"first:  {folder}", f"second: {elsewhere}"]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("unknown", "compare: there is no run 'third'"),
        (
            "several",
            "compare resnet: expected one run, got 2; name one of shapes/resnet-x0.1/seed0, ",
        ),
        ("itself", "compare first first: expected two runs, and both are"),
        ("unfinished", "second/seed0: not finished; expected a finished run"),
        (
            "older",
            "second/seed0/predictions.csv: not there (finished by an older version); give the run's",
        ),
        ("dataset", "tested on cifar100, and"),
        ("fewer", "second/seed0/predictions.csv: 19 images, whose classes are not those of the 20 of"),
        ("labels", "second/seed0/predictions.csv: 20 images, whose classes are not those of the 20 of"),
        ("cut", "second/seed0/predictions.csv:21: cut short"),
        ("changed", "second/seed0/predictions.csv: damaged, for its SHA-256 is not the one in run.json"),
        ("order", "second/seed0/predictions.csv: not a row for each image in order"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_line(what: str, message: str, tmp_path: Path) -> None:
    predicted(tmp_path, "first", {0})
    second = predicted(tmp_path, "second", {1}, 19 if what == "fewer" else 20, 4 if what == "labels" else 3)
    text = second.predictions.read_text()
    if what == "several":
        for scale in ("0.1", "0.2"):
            predicted(tmp_path, f"resnet-x{scale}", {1})
    elif what == "unfinished":
        second.record.unlink()
        second.curves.write_text("")
    elif what == "older":
        second.predictions.unlink()
    elif what == "dataset":
        results.write_record(second, record(run_of("resnet8", "second")).model_copy(update={"dataset": "cifar100"}))
    elif what == "cut":
        second.predictions.write_text(text[:-3])
    elif what == "changed":
        second.predictions.write_text(text.replace("\n5,3,3", "\n5,3,7"))
    elif what == "order":
        second.predictions.write_text(text.replace("\n5,", "\n4,"))
    names = {"unknown": "third", "several": "resnet", "itself": "first"}
    assert message in error("compare", "first", names.get(what, "second"), "--results-dir", tmp_path)


def test_errors_with_other_bn_statistics_are_not_compared_image_by_image(tmp_path: Path) -> None:
    files = [predicted(tmp_path, name, {number}) for number, name in enumerate(("first", "second"))]
    moving = [Seed(value=5.0, files=one, record=results.read_record(one)) for one in files]
    averaged = replace(moving[1], record=record(tiny_run(bn_average_batches=3)))
    assert "McNemar" in comparison.image_by_image([moving[:1], moving[1:]])
    assert comparison.image_by_image([moving[:1], [averaged]]) == ""


def test_a_claim_on_two_runs_of_a_seed_each_names_it(tmp_path: Path) -> None:
    for name, num_wrong, test_error in (("resnet56", 70, 7.0), ("resnet110", 60, 6.0)):
        finish(tmp_path, name, [test_error])
        rows = [Prediction(image=i, label=0, moving=0, bn_averaged=int(i < num_wrong)) for i in range(1000)]
        csv_rows.write_rows(tmp_path / f"cifar10/{name}/seed0/predictions.csv", Prediction, rows)
    verdict = decide(tmp_path, higher="resnet56", lower="resnet110")
    assert verdict.test.endswith("; image by image: McNemar's exact p = 0.002")  # 10 of 10: 2 / 1024
    finish(tmp_path, "resnet56", [7.0, 7.1])
    assert "McNemar" not in decide(tmp_path, higher="resnet56", lower="resnet110").test
