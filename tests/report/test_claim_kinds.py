"""Claims on published differences and top-5 errors, on when a net converges, and on what is counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resrepro import results
from resrepro.config.experiment import Claim
from resrepro.config.run import Variation
from resrepro.config.toml_files import experiment_names, find_experiment, read_experiment
from resrepro.errors import UserError
from resrepro.paper import EVALUATION_SCALES
from resrepro.report import claims
from resrepro.report.judge import decidable
from resrepro.report.measures import read_value
from resrepro.report.statistics import Estimate, minus
from resrepro.results import csv_rows
from resrepro.results.paths import RunFiles
from resrepro.results.records import CurvePoint, Errors, Evaluation
from support.judging import decide, status
from support.records import point
from support.stored_runs import files_of, finish, write_responses


def evaluated(results_dir: Path, experiment: str, name: str, top1: float, top5: float) -> None:
    """Finish a run of a seed, and record its 10-crop errors."""
    finish(results_dir, name, [30.0], experiment=experiment)
    run = next(run for run in find_experiment(experiment).runs if run.name == name)
    files = files_of(results_dir, run)
    record = results.read_record(files)
    assert record is not None
    errors = Errors(top1_pct=top1, top5_pct=top5, loss=1.0)
    found = Evaluation(
        members=(run.path.as_posix(),), finished_at=(record.finished_at,), protocol="10-crop",
        scales=EVALUATION_SCALES["10-crop"], moving=errors, reestimated=errors, device="d", precision="fp32",
        commit=None,
    )  # fmt: skip
    results.record_evaluation(files.evaluations, found)


def test_a_difference_of_the_papers_is_compared_by_a_prediction_interval(tmp_path: Path) -> None:
    asked: dict[str, Any] = {
        "experiment": "imagenet-depth", "higher": "resnet18-A", "lower": "resnet34-A", "published": True,
        "protocol": "10-crop",
    }  # fmt: skip
    assert status(tmp_path, **asked) == "not run"
    evaluated(tmp_path, "imagenet-depth", "resnet18-A", 28.0, 9.0)
    for ours, expected in ((25.3, "consistent (one run)"), (27.5, "inconsistent (one run)")):
        evaluated(tmp_path, "imagenet-depth", "resnet34-A", ours, 8.0)
        verdict = decide(tmp_path, **asked)
        assert verdict.status == expected and verdict.estimate is not None
        assert verdict.estimate.value == pytest.approx(28.0 - ours - (27.88 - 25.03))
        assert verdict.test.startswith("prediction interval of the difference -")
    # 50,000 images each, ours and the paper's: sqrt(2 (v18 + v34))
    error = (2 * 1e4 * (0.28 * 0.72 + 0.275 * 0.725) / 50_000) ** 0.5
    assert verdict.estimate.error == pytest.approx(error, rel=1e-3)


def test_the_variances_of_a_difference_add_up_with_welchs_degrees() -> None:
    first = Estimate(value=3.0, error=0.3, degrees=2)
    second = Estimate(value=1.0, error=0.4, degrees=4)
    found = minus(first, second)
    assert (found.value, found.error) == (2.0, pytest.approx(0.5))
    assert found.degrees == pytest.approx(0.25**2 / (0.09**2 / 2 + 0.16**2 / 4))


def test_a_published_top_5_error(tmp_path: Path) -> None:
    asked: dict[str, Any] = {
        "experiment": "imagenet-depth", "run": "resnet34-A", "published": True, "protocol": "10-crop",
        "column": "top5_error_pct",
    }  # fmt: skip
    for ours, expected in ((7.8, "consistent (one run)"), (25.0, "inconsistent (one run)")):
        evaluated(tmp_path, "imagenet-depth", "resnet34-A", 25.0, ours)
        verdict = decide(tmp_path, **asked)
        assert verdict.status == expected and verdict.estimate is not None
        assert verdict.estimate.value == pytest.approx(ours - 7.76)
    experiment = find_experiment("imagenet-depth")
    judged = claims.verdicts([experiment], tmp_path)
    table = claims.table("T", judged, {verdict.status: "-" for _, verdict in judged}, tmp_path)
    row = next(
        dict(zip(table.columns, row, strict=True))
        for row in table.rows
        if "ResNet-34 A has the paper's 10-crop top-5" in row[0]
    )
    assert (row["paper"], row["ours"], row["difference"]) == ("7.76", "25.00", "+17.24")


def test_all_runs_of_an_experiment_together(tmp_path: Path) -> None:
    experiment = find_experiment("ensemble")
    asked: dict[str, Any] = {"column": "top5_error_pct", "ensemble": True, "protocol": "multi-scale"}
    assert decide(tmp_path, "ensemble", below=4.82, **asked).detail == "imagenet/resnet34-B/seed0 not finished"
    for run in experiment.runs:
        finish(tmp_path, run.name, [30.0] * (1 + run.seed), experiment="ensemble")
    missing = decide(tmp_path, "ensemble", below=4.82, **asked).detail
    assert missing.startswith("to measure: `resrepro evaluate ") and missing.count("/seed") == 6
    single = {**asked, "protocol": "single view"}
    assert decide(tmp_path, "ensemble", below=4.82, **single).detail.endswith("/seed1 --ensemble`")  # the default
    errors = Errors(top1_pct=18.0, top5_pct=3.6, loss=1.0)
    members = tuple(run.path.as_posix() for run in experiment.runs)
    found = Evaluation(
        members=members[::-1], finished_at=("now",) * 6, protocol="multi-scale",
        scales=EVALUATION_SCALES["multi-scale"], moving=errors, reestimated=errors, device="d", precision="fp32",
        commit=None,
    )  # fmt: skip
    path = results.ensembles_file(tmp_path, "imagenet")
    other = found.model_copy(update={"members": members[:5], "finished_at": ("now",) * 5})
    results.record_evaluation(path, other)  # five of the six
    assert status(tmp_path, "ensemble", below=4.82, **asked) == "not run"
    results.record_evaluation(path, found)
    assert status(tmp_path, "ensemble", below=4.82, **single) == "not run"
    whole = found.model_copy(update={"protocol": "single view", "scales": ()})  # small images are seen whole
    results.record_evaluation(path, whole)
    assert decide(tmp_path, "ensemble", below=4.82, **single).values == {"ensemble": (3.6,)}
    verdict = decide(tmp_path, "ensemble", below=4.82, **asked)
    assert verdict.values == {"ensemble": (3.6,)} and verdict.status == "consistent (one run)"
    assert "binomial noise of 50,000 images" in verdict.test
    verdict = decide(tmp_path, "ensemble", published=True, **asked)
    assert verdict.status == "consistent (one run)" and verdict.estimate is not None
    assert verdict.estimate.value == pytest.approx(0.03)
    path.write_text("{")
    assert "ensembles.json: damaged" in decide(tmp_path, "ensemble", below=4.82, **asked).detail


def test_when_a_net_starts_converging(tmp_path: Path) -> None:
    (files,) = _runs(tmp_path, "warmup-110", "resnet110-no-warmup")

    def found(*errors: float) -> float:
        rows = [point(500 * i, error=error) for i, error in enumerate(errors, 1)]
        csv_rows.write_rows(files.curves, CurvePoint, rows)
        asked = {"column": "converging_iter", "run": "resnet110-no-warmup", "above": 782.0, "below": 3910.0}
        return decide(tmp_path, "warmup-110", **asked).values["resnet110-no-warmup"][0]

    assert found(90.1, 89.9, 88.9, 89.5, 80.0) == 1500  # 89.9 is chance
    assert found(90.1, 89.9) == 64_000  # it never does
    claim = Claim(text="T", column="converging_iter", run="resnet110-no-warmup", above=782.0)
    record = results.read_record(files)
    found(99.1, 98.9, 97.9, 80.0)
    values = [read_value(files, record.model_copy(update={"dataset": d}), claim) for d in ("cifar100", "folder:birds")]
    assert values == [1500, None]  # a hundred classes; and nobody knows how many


def test_the_least_response_has_the_noise_of_a_standard_deviation(tmp_path: Path) -> None:
    (files,) = _runs(tmp_path, "gradient-norms", "plain56")
    for least, expected in ((0.5, "consistent (one run)"), (0.0, "inconsistent (one run)"), (0.09, "inconclusive")):
        write_responses(files, [1.0] * 54 + [least])  # 10 images: an error of 0.22 of the value
        asked = {"column": "response_least", "run": "plain56", "above": 0.1}
        verdict = decide(tmp_path, "gradient-norms", **asked)
        assert verdict.values == {"plain56": (least,)} and verdict.status == expected


def _runs(results_dir: Path, experiment: str, *names: str) -> list[RunFiles]:
    runs = {run.name: run for run in find_experiment(experiment).runs if run.seed == 0}
    for name in names:
        finish(results_dir, name, [9.0], experiment=experiment)
    return [files_of(results_dir, runs[name]) for name in names]


def test_multiply_adds_are_counted_without_any_run(tmp_path: Path) -> None:
    chain: dict[str, Any] = {"column": "multiply_adds_e9", "higher": "vgg19", "between": ("vgg16",)}
    verdict = decide(tmp_path, "bottleneck", lower="resnet152", **chain)
    assert (verdict.status, verdict.test) == ("supported", "counted from the net")
    assert verdict.values["resnet152"] == (pytest.approx(11.28, abs=0.005),)
    assert status(tmp_path, "bottleneck", lower="resnet152", higher="vgg16", column="multiply_adds_e9") == "supported"
    assert (
        status(tmp_path, "bottleneck", higher="resnet152", lower="vgg16", column="multiply_adds_e9") == "contradicted"
    )
    share: dict[str, Any] = {"column": "multiply_adds_of_vgg19_pct", "run": "plain34"}
    assert status(tmp_path, "bottleneck", above=17, below=19, **share) == "supported"
    assert status(tmp_path, "bottleneck", above=17, below=18.5, **share) == "contradicted"


def test_no_claim_on_a_value_of_the_papers_is_decided_under_a_variation() -> None:
    for experiment in map(find_experiment, ("bottleneck", "imagenet-depth", "layer-responses", "plain34-vs-res34")):
        varied = experiment.variant(Variation(schedule_scale=0.1))
        left = [c for c in decidable(varied) if c.published or c.is_counted or c.column == "response_level"]
        assert left == [] and 0 < len(decidable(varied)) < len(decidable(experiment))


def test_each_stands_for_a_claim_a_run() -> None:
    shared = Claim(text="{net} is good", column="test_error_pct", each=("a", "b"), below=9.0)
    assert shared.of_each({"a": "A"}) == (
        Claim(text="A is good", column="test_error_pct", run="a", below=9.0),
        Claim(text="b is good", column="test_error_pct", run="b", below=9.0),
    )
    for experiment in map(find_experiment, experiment_names()):
        assert all(claim.runs and "{" not in claim.text for claim in experiment.claims)


@pytest.mark.parametrize(
    ("replacement", "message"),
    [
        ('each = ["plain9"]\nabove = 1.0', r"claim '.*': unknown run 'plain9'; did you mean 'plain8'\?"),
        (
            'run = "vgg18"\nabove = 1.0\ncolumn = "multiply_adds_e9"',
            r"claim '.*': unknown net 'vgg18'; did you mean 'vgg1",
        ),
        ('run = "plain8"\npublished = true\ncolumn = "top5_error_pct"', r"the paper has no single view top-5 error of"),
        (
            'higher = "plain8"\nlower = "resnet8"\npublished = true',
            r"the paper has no single view test error of 'plain8",
        ),
        (
            'higher = "plain8"\nlower = "resnet8"\nmin_difference_pct = 1.0\npublished = true',
            r"or with 'published' alone",
        ),
        ('run = "plain8"\npublished = false', r"mine.toml: claim 1: expected 'higher' and 'lower', with or without"),
        ("ensemble = false\nabove = 1.0", r"or 'run', 'each' or 'ensemble' with 'above' or"),
        ('run = "plain8"\nabove = 2.0\nbelow = 1.5', r"expected above < below; got 2 and 1.5"),
        (
            'run = "plain8"\nabove = 1.0\nprotocol = "10-crop"\ncolumn = "train_error_pct"',
            r"protocol '10-crop': expected column 'test_error_pct' or 'top5_error_pct'",
        ),
        ('run = "plain8"\nabove = 1.0\nprotocol = "10-crop"', r"protocol '10-crop': needs runs with scale_crop"),
        ('ensemble = true\nabove = 1.0\nprotocol = "multi-scale"', r"protocol 'multi-scale': needs runs with scale_cr"),
        ('higher = "plain8"\nlower = "plain8"', r"expected each run once in an order; got plain8, plain8"),
        (
            'ensemble = true\nabove = 1.0\ncolumn = "train_error_pct"',
            r"ensemble: expected column 'test_error_pct' or 'top5_error_pct'",
        ),
    ],
)
def test_a_mistake_in_a_claim_is_named(toml: Callable[..., Path], replacement: str, message: str) -> None:
    column = ('column = "test_error_pct"\n', "") if "column" in replacement else ("", "")
    with pytest.raises(UserError, match=message):
        read_experiment(toml(('higher = "plain8"\nlower = "resnet8"', replacement), column))
