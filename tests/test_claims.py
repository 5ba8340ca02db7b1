"""Claims and the rule that decides them, on made records."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from test_results import record

from resrepro import results
from resrepro.cli.outcome import print_outcome
from resrepro.config.experiment import Claim
from resrepro.config.run import Run, Variation
from resrepro.config.toml_files import experiment_names, find_experiment, read_experiment
from resrepro.errors import UserError
from resrepro.report import claims
from resrepro.report.verdicts import ALPHA, judge, t_tail, welch
from resrepro.results import csv_rows
from resrepro.results.records import ConstructedComparison, LayerNorms, Response


def finish(
    results_dir: Path, name: str, errors: list[float | None], *, train: float = 1.0, experiment: str = "cifar-resnet"
) -> None:
    """Finished seeds 0, 1, ... of a run with these test errors; None: diverged."""
    run = next(run for run in find_experiment(experiment).runs if run.name == name)
    for seed, error in enumerate(errors):
        seeded = run.replace(seed=seed)
        ends: dict[str, Any] = {"final_test_error_pct": error, "final_train_error_pct": train}
        if error is None:
            ends |= {"status": "diverged", "diverged_iter": 7, "final_train_error_pct": None}
        source = run.start_from and run.start_from.name
        results.write_record(files_of(results_dir, seeded), record(seeded, start_from=source, **ends))


def files_of(results_dir: Path, run: Run) -> results.RunFiles:
    return results.run_files(results_dir, run)


def status(results_dir: Path, experiment: str = "cifar-resnet", **fields: Any) -> tuple[str, float | None]:
    claim = Claim(**{"text": "t", "column": "test_error_pct", **fields})
    verdict = judge(find_experiment(experiment), claim, results_dir)
    return verdict.status, verdict.p_value


@pytest.mark.parametrize(
    ("t", "degrees", "tail"),
    [(6.314, 1, 0.05), (2.920, 2, 0.05), (2.132, 4, 0.05), (1.812, 10, 0.05), (-2.132, 4, 0.95)],
)
def test_the_t_distribution_is_that_of_the_published_tables(t: float, degrees: float, tail: float) -> None:
    assert t_tail(t, degrees) == pytest.approx(tail, abs=5e-5)


def test_p_values_by_hand() -> None:
    # t = 2.449, 4 degrees: p = 1/2 - 3/8 * t / sqrt(2.5) * (1 - 6 / 2.5 / 12)
    assert welch((3, 4, 5), (1, 2, 3), 0) == pytest.approx(0.5 - 3 / 8 * math.sqrt(6 / 2.5) * 0.8, abs=1e-6)
    assert welch((3, 4, 5), (1, 2, 3), 2) == pytest.approx(0.5)
    # one mean against a constant: t = 2 sqrt(3), 2 degrees: p = 1/2 - t / (2 sqrt(2 + t^2))
    assert welch((-5, -6, -7), (-8,), 0) == pytest.approx(0.5 - math.sqrt(12) / (2 * math.sqrt(14)), abs=1e-6)
    # variances 2 / 2 and 1 / 3: (4/3)^2 / (1 + 1/18) degrees
    assert welch((0, 2), (-4, -3, -2), 0) == pytest.approx(t_tail(4 / math.sqrt(4 / 3), 16 / 9 / (19 / 18)))
    assert (welch((2, 2), (1, 1), 0), welch((1, 1), (1, 1), 0)) == (0, 1)


def test_an_order_of_two_with_seeds_needs_more_than_the_direction(tmp_path: Path) -> None:
    order = {"higher": "resnet56", "lower": "resnet110"}
    assert status(tmp_path, **order) == ("not run", None)
    finish(tmp_path, "resnet56", [3, 4, 5])
    finish(tmp_path, "resnet110", [1, 2, 3])
    assert status(tmp_path, **order) == ("reproduced", pytest.approx(0.0352, abs=1e-4))
    finish(tmp_path, "resnet110", [2, 3, 4])  # lower, but within the noise
    judged, p = status(tmp_path, **order)
    assert judged == "not reproduced" and p is not None and p > ALPHA
    assert status(tmp_path, higher="resnet110", lower="resnet56")[0] == "not reproduced"


def test_one_seed_decides_by_direction_and_has_no_test(tmp_path: Path) -> None:
    finish(tmp_path, "resnet56", [4.0])
    finish(tmp_path, "resnet110", [3.9, 3.8, 4.0])
    assert status(tmp_path, higher="resnet56", lower="resnet110") == ("reproduced", None)
    assert status(tmp_path, higher="resnet110", lower="resnet56") == ("not reproduced", None)
    claim = Claim(text="t", column="test_error_pct", higher="resnet56", lower="resnet110")
    assert "one seed" in judge(find_experiment("cifar-resnet"), claim, tmp_path).test


def test_an_order_of_several_holds_only_if_every_step_does(tmp_path: Path) -> None:
    chain = {"higher": "resnet20", "between": ("resnet32", "resnet44"), "lower": "resnet56"}
    for name, error in (("resnet20", 8.7), ("resnet32", 7.5), ("resnet44", 7.2)):
        finish(tmp_path, name, [error])
    assert status(tmp_path, **chain) == ("not run", None)
    finish(tmp_path, "resnet56", [7.0])
    assert status(tmp_path, **chain) == ("reproduced", None)
    finish(tmp_path, "resnet32", [7.1])
    assert status(tmp_path, **chain) == ("not reproduced", None)


def test_the_largest_p_of_a_chain_decides(tmp_path: Path) -> None:
    finish(tmp_path, "resnet20", [8, 8.1, 8.2])
    finish(tmp_path, "resnet32", [3, 4, 5])
    finish(tmp_path, "resnet44", [1, 2, 3])
    judged, p = status(tmp_path, higher="resnet20", between=("resnet32",), lower="resnet44")
    assert judged == "reproduced" and p == pytest.approx(welch((3, 4, 5), (1, 2, 3), 0))


def test_margins_below_and_above(tmp_path: Path) -> None:
    finish(tmp_path, "resnet56", [8.0])
    finish(tmp_path, "resnet110", [7.5])
    order = {"higher": "resnet56", "lower": "resnet110"}
    assert status(tmp_path, **order, min_difference_pct=0.4)[0] == "reproduced"
    assert status(tmp_path, **order, min_difference_pct=0.6)[0] == "not reproduced"
    assert status(tmp_path, **order, max_difference_pct=0.6)[0] == "reproduced"
    assert status(tmp_path, **order, max_difference_pct=0.4)[0] == "not reproduced"
    finish(tmp_path, "resnet56", [8.0, 8.0, 8.1])
    finish(tmp_path, "resnet110", [7.5, 7.5, 7.6])
    assert status(tmp_path, **order, max_difference_pct=0.7)[0] == "reproduced"
    assert status(tmp_path, **order, max_difference_pct=0.51)[0] == "not reproduced"  # within the noise


def test_bounds_of_one_run(tmp_path: Path) -> None:
    assert status(tmp_path, run="resnet20", below=9) == ("not run", None)
    finish(tmp_path, "resnet20", [8.4])
    assert status(tmp_path, run="resnet20", below=9, above=8) == ("reproduced", None)
    assert status(tmp_path, run="resnet20", below=8.4) == ("not reproduced", None)
    assert status(tmp_path, run="resnet20", above=8.5) == ("not reproduced", None)
    finish(tmp_path, "resnet20", [5, 6, 7])
    judged, p = status(tmp_path, run="resnet20", below=8)
    assert judged == "reproduced" and p == pytest.approx(0.0371, abs=1e-4)
    assert status(tmp_path, run="resnet20", below=8, above=5)[0] == "not reproduced"  # the worse of two tests


def test_diverged_and_damaged_runs_are_not_judged(tmp_path: Path) -> None:
    finish(tmp_path, "resnet56", [None])
    finish(tmp_path, "resnet110", [6.5])
    claim = Claim(text="t", column="test_error_pct", higher="resnet56", lower="resnet110")
    experiment = find_experiment("cifar-resnet")
    verdict = judge(experiment, claim, tmp_path)
    assert (verdict.status, verdict.detail) == ("not run", "resnet56 diverged")
    path = tmp_path / "cifar10/resnet56/seed0/run.json"
    path.write_text("{")
    verdict = judge(experiment, claim, tmp_path)
    assert verdict.status == "not run" and str(path) in verdict.detail
    finish(tmp_path, "resnet56", [7.0, 7.1])
    path.write_text("{")  # the other seed alone would be a choice
    assert judge(experiment, claim, tmp_path).status == "not run"
    finish(tmp_path, "resnet56", [7.0, None])
    verdict = judge(experiment, claim, tmp_path)
    assert (verdict.status, verdict.detail) == ("not run", "resnet56 diverged with seed 1")


def test_the_center_crop_does_not_decide_a_10_crop_claim(tmp_path: Path) -> None:
    for name in ("plain34", "resnet34-A"):
        finish(tmp_path, name, [25.0], experiment="plain34-vs-res34")
    claim = next(c for c in find_experiment("plain34-vs-res34").claims if c.protocol == "10-crop")
    verdict = judge(find_experiment("plain34-vs-res34"), claim, tmp_path)
    assert verdict.status == "not run" and "--protocol 10-crop`" in verdict.detail


def test_a_finished_seed_without_the_measure_is_not_left_out(tmp_path: Path) -> None:
    finish(tmp_path, "resnet20", [8.4, 8.5])
    finish(tmp_path, "resnet56", [7.0, 7.1])
    one = Response(layer=1, name="c", std=0.9, num_images=10)
    for name, seed in (("resnet20", 0), ("resnet20", 1), ("resnet56", 1)):
        csv_rows.write_rows(tmp_path / f"cifar10/{name}/seed{seed}/responses.csv", Response, [one])
    assert status(tmp_path, column="response_std", run="resnet20", below=1)[0] == "reproduced"
    assert status(tmp_path, column="response_std", run="resnet56", below=1)[0] == "not run"


def test_responses_gradients_and_the_constructed_net(tmp_path: Path) -> None:
    def analyzed(experiment: str, name: str) -> results.RunFiles:
        finish(tmp_path, name, [9.0], experiment=experiment)
        run = next(run for run in find_experiment(experiment).runs if run.name == name)
        return files_of(tmp_path, run)

    for name, std in (("plain20", 0.9), ("resnet20", 0.5)):
        found = [Response(layer=i, name="c", std=std + i / 100, num_images=10) for i in (1, 2, 3)]
        csv_rows.write_rows(analyzed("layer-responses", name).responses, Response, found)
    responses = {"experiment": "layer-responses", "column": "response_std"}
    assert status(tmp_path, higher="plain20", lower="resnet20", **responses) == ("reproduced", None)
    assert status(tmp_path, run="plain20", above=0.919, below=0.921, **responses)[0] == "reproduced"  # the mean
    assert status(tmp_path, higher="plain20", lower="resnet56", **responses)[0] == "not run"

    def gradients(first: float) -> str:
        norms = {0: [5.0, 1.0, 1.0, 9.0], 8: [first, 1.0, 1.0, 9.0]}  # fc, the last one, does not count
        found = [
            LayerNorms(iteration=i, moment="m", layer=n, name="c", gradient_norm=g, weight_norm=1.0)
            for i, values in norms.items()
            for n, g in enumerate(values, 1)
        ]
        csv_rows.write_rows(analyzed("gradient-norms", "plain56").gradients, LayerNorms, found)
        return status(tmp_path, "gradient-norms", column="gradient_first_to_last", run="plain56", above=0.1)[0]

    assert (gradients(0.2), gradients(0.05)) == ("reproduced", "not reproduced")

    def constructed(error: float) -> str:
        common = {"num_images": 10, "largest_difference": 0.0, "largest_output": 1.0, "shallower_error_pct": 9.0}
        found = [
            ConstructedComparison(part="train", error_pct=9.0, **common),
            ConstructedComparison(part="test", error_pct=error, **common),
        ]
        path = analyzed("constructed-identity", "plain56-from-plain20").identity
        csv_rows.write_rows(path, ConstructedComparison, found)
        own = {"column": "constructed_difference_pct", "run": "plain56-from-plain20"}
        return status(tmp_path, "constructed-identity", below=0.05, **own)[0]

    assert (constructed(9.02), constructed(8.9)) == ("reproduced", "not reproduced")


@pytest.mark.parametrize(
    "replacement",
    [
        'higher = "plain8"',
        'higher = "plain8"\nlower = "resnet8"\nrun = "plain8"\nabove = 1.0',
        'higher = "plain8"\nlower = "resnet8"\nbelow = 1.0',
        'run = "plain8"',
        'run = "plain8"\nabove = 1.0\nbetween = ["resnet8"]',
        'run = "plain8"\nabove = 1.0\nmax_difference_pct = 1.0',
    ],
)
def test_a_claim_of_no_kind_or_of_two_is_an_error(replacement: str, toml: Any) -> None:
    with pytest.raises(UserError, match=r"mine\.toml: claim .*expected 'higher' and 'lower'"):
        read_experiment(toml(('higher = "plain8"\nlower = "resnet8"', replacement)))


def test_the_same_claim_of_two_experiments_is_listed_once(tmp_path: Path) -> None:
    both = [find_experiment(name) for name in ("plain20-vs-plain56", "cifar-plain")]
    judged = claims.verdicts(both, tmp_path)
    fig1 = [v for _, v in judged if v.claim.runs == ("plain56", "plain20") and v.claim.column == "train_error_pct"]
    assert len(fig1) == 1 and len(judged) == sum(len(e.claims) for e in both) - 1


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_run_ends_with_verdicts_on_the_paper_only_under_its_schedule(scale: float, tmp_path: Path) -> None:
    experiment = find_experiment("plain-vs-resnet").variant(Variation(schedule_scale=scale))
    errors = {"plain20": 9.0, "resnet20": 8.0, "plain56": 13.0, "resnet56": 7.0}
    for run in experiment.runs:
        error = errors[run.name]
        ends = {"final_test_error_pct": error, "final_train_error_pct": error}
        results.write_record(files_of(tmp_path, run), record(run, schedule_scale=scale, **ends))
    bounded = Claim(text="reaches it", run="resnet20", below=9.5, column="test_error_pct")
    experiment = experiment.model_copy(update={"claims": (*experiment.claims, bounded)})
    console = Console(width=200)
    with console.capture() as captured:
        print_outcome(console, experiment, experiment.runs, tmp_path)
    printed = captured.get()
    if scale == 1:
        assert "\nreproduced: 56 layers: " in printed and "\nreproduced: reaches it" in printed
        assert "no verdict" not in printed
    else:
        assert "\nholds here: 56 layers: " in printed and "reproduced" not in printed and "reaches it" not in printed
        assert "with --schedule-scale 0.1 this is no verdict" in printed


def test_the_table_has_the_papers_value_ours_difference_and_n(tmp_path: Path) -> None:
    finish(tmp_path, "resnet56", [7.0, 7.2])
    finish(tmp_path, "resnet110", [6.5, 6.5, 6.8])
    judged = claims.verdicts([find_experiment("cifar-resnet")], tmp_path)
    words = {"reproduced": "yes", "not reproduced": "no", "not run": "-"}
    table = claims.table("T", judged, words)
    found = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    row = next(row for row in found if row["claim"].startswith("ResNet-110 has a lower test error"))
    assert row["paper"] == "ResNet-56: 6.97\nResNet-110: 6.61"
    assert row["ours"] == "ResNet-56: 7.10±0.14\nResNet-110: 6.60±0.17"
    assert (row["difference"], row["n"], row["verdict"]) == ("+0.50 (+0.36)", "2, 3", "yes")
    assert row["decided by"].startswith("p = 0.0")
    value = next(row for row in found if row["claim"].startswith("ResNet-110 reaches"))
    assert (value["paper"], value["ours"], value["difference"]) == ("6.61", "6.60±0.17", "-0.01")
    missing = next(row for row in found if row["claim"].startswith("ResNet-20 reaches"))
    assert missing["verdict"] == "-" and "`resrepro run cifar-resnet`" in missing["decided by"]


def test_every_shipped_claim_says_where_the_paper_makes_it() -> None:
    papers = [e for e in map(find_experiment, experiment_names()) if e.dataset in ("cifar10", "imagenet")]
    assert all(claim.source for e in papers for claim in e.claims)
