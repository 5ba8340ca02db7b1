"""Claims and the rule that decides them, on made records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from resrepro import results
from resrepro.config.experiment import Claim
from resrepro.config.run import Variation
from resrepro.config.toml_files import find_experiment, read_experiment
from resrepro.errors import UserError
from resrepro.report.judge import judge
from resrepro.report.noise import SeedSpreads
from resrepro.results import csv_rows
from resrepro.results.records import CurvePoint
from support.judging import decide, status
from support.records import point, record
from support.stored_runs import files_of, finish

ORDER = {"higher": "resnet56", "lower": "resnet110"}


def test_an_order_of_two_has_three_states(tmp_path: Path) -> None:
    assert status(tmp_path, **ORDER) == "not run"
    finish(tmp_path, "resnet56", [3, 4, 5])
    finish(tmp_path, "resnet110", [1, 2, 3])
    verdict = decide(tmp_path, **ORDER)  # t = 2.449 with 4 degrees, as computed by hand in test_statistics
    assert verdict.p_value == pytest.approx(2 * 0.0352, abs=2e-4) and verdict.status == "inconclusive"
    assert "spread between its seeds" in verdict.test and "p = 0.070" in verdict.test
    finish(tmp_path, "resnet110", [0, 1, 2])  # t = 3.674
    assert decide(tmp_path, **ORDER).p_value == pytest.approx(0.0213, abs=1e-4)
    assert status(tmp_path, **ORDER) == "supported"
    assert status(tmp_path, higher="resnet110", lower="resnet56") == "contradicted"


def test_a_direction_within_the_noise_is_never_contradicted(tmp_path: Path) -> None:
    finish(tmp_path, "resnet56", [7.0, 7.3, 7.1])
    finish(tmp_path, "resnet110", [7.1, 7.0, 7.4])
    for order in (ORDER, {"higher": "resnet110", "lower": "resnet56"}):
        verdict = decide(tmp_path, **order)
        assert verdict.status == "inconclusive" and verdict.p_value is not None and verdict.p_value > 0.05


def test_what_two_seeds_leave_open_is_said(tmp_path: Path) -> None:
    finish(tmp_path, "resnet56", [8.0, 9.0, 8.5])
    finish(tmp_path, "resnet110", [1.0, 1.1])
    verdict = decide(tmp_path, **ORDER)
    assert verdict.status == "supported" and "too few" not in verdict.test
    finish(tmp_path, "resnet110", [7.0, 8.0])
    verdict = decide(tmp_path, **ORDER)
    assert verdict.status == "inconclusive" and verdict.test.endswith(
        "; n = 2 for resnet110: too few to know the spread between seeds; a third seed may decide"
    )
    finish(tmp_path, "resnet110", [7.0, 8.0, 8.2])
    verdict = decide(tmp_path, **ORDER)
    assert verdict.status == "inconclusive" and "too few" not in verdict.test


def test_one_run_is_decided_by_the_binomial_noise_of_the_images(tmp_path: Path) -> None:
    finish(tmp_path, "resnet56", [13.44])
    finish(tmp_path, "resnet110", [9.37])
    verdict = decide(tmp_path, **ORDER)
    assert verdict.status == "consistent (one run)"
    # 13.44 - 9.37 -+ 1.96 * 100 * sqrt(0.1344 * 0.8656 / 1e4 + 0.0937 * 0.9063 / 1e4)
    assert verdict.interval == pytest.approx((4.07 - 0.879, 4.07 + 0.879), abs=2e-3)
    assert verdict.test == (
        "95 % interval of the difference +3.19 to +4.95; corrected p < 0.001; "
        "binomial noise of 10,000 images (±0.34, ±0.29)"
    )
    assert status(tmp_path, higher="resnet110", lower="resnet56") == "inconsistent (one run)"
    finish(tmp_path, "resnet110", [13.2])
    assert status(tmp_path, **ORDER) == "inconclusive"
    finish(tmp_path, "resnet110", [9.3, 9.4, 9.5])  # one of the two still has a single seed
    assert status(tmp_path, **ORDER) == "consistent (one run)"


def test_one_run_takes_the_spread_between_seeds_where_it_is_measured(tmp_path: Path) -> None:
    for seeds, expected in (([8.4], "consistent (one run)"), ([8.4, 7.4, 9.4], "inconclusive")):
        finish(tmp_path, "resnet20", [8.4])
        finish(tmp_path, "resnet56", [7.0])
        finish(tmp_path, "resnet20-45k", seeds, experiment="split-45k")
        assert status(tmp_path, "cifar-resnet", higher="resnet20", lower="resnet56") == expected
    verdict = decide(tmp_path, "cifar-resnet", run="resnet20", below=9.0)
    assert (
        "95 % interval of the mean 4.10 to 12.70" in verdict.test
        and "spread between 3 stored seeds (±1.00)" in verdict.test
    )
    # t = 0.6 / 1 with the 2 degrees of the stored spread: p = 1 - t / sqrt(2 + t^2)
    assert verdict.p_value == pytest.approx(1 - 0.6 / (2 + 0.36) ** 0.5, abs=1e-6)


def test_training_errors_of_a_short_run_have_the_noise_of_its_last_mini_batches(tmp_path: Path) -> None:
    """A fiftieth has 80 iterations of 128 images between two curve points, and an end of 180."""
    fiftieth = find_experiment("cifar-resnet").variant(Variation(schedule_scale=0.02))
    run = next(run for run in fiftieth.runs if run.name == "resnet20")
    files = files_of(tmp_path, run)
    results.write_record(files, record(run, schedule_scale=0.02, final_train_error_pct=10.0))
    csv_rows.write_rows(files.curves, CurvePoint, [point(1280, error=10.0)])
    for window, words in ((None, "of 10,240 images (±0.30)"), ("end", "of 23,040 images (±0.20)")):
        claim = Claim(text="t", run="resnet20", below=11, column="train_error_pct", window=window)
        assert words in judge([(fiftieth, claim)], tmp_path)[0].test


def test_a_number_of_the_paper_is_not_easier_to_reach_beside_other_claims(tmp_path: Path) -> None:
    finish(tmp_path, "resnet20", [7.9])  # outside the interval, which is 0.75
    own = {"run": "resnet20", "published": True}
    assert status(tmp_path, **own) == "inconsistent (one run)"
    experiment = find_experiment("cifar-resnet")
    claims = [Claim(text="t", column="test_error_pct", **own)]
    claims += [Claim(text="t", column="test_error_pct", run="resnet20", below=8.0)] * 9
    assert judge([(experiment, claim) for claim in claims], tmp_path)[0].status == "inconclusive"


def test_a_damaged_seed_decides_only_where_it_is_declared(tmp_path: Path) -> None:
    finish(tmp_path, "resnet20", [8.4])
    run = next(run for run in find_experiment("cifar-resnet").runs if run.name == "resnet20")
    for seed, expected in ((7, "consistent (one run)"), (0, "not run")):
        files = files_of(tmp_path, run.replace(seed=seed))
        files.folder.mkdir(exist_ok=True)
        files.record.write_text("{")
        assert status(tmp_path, "cifar-resnet", run="resnet20", below=9.5) == expected


def test_runs_on_images_of_two_sizes_are_no_seeds_of_one_run(tmp_path: Path) -> None:
    claim = Claim(text="t", run="resnet20", below=11, column="test_error_pct")
    for seed, side in enumerate((32, 64)):
        sized = find_experiment("cifar-resnet").variant(Variation(dataset="folder:/x/birds", resize=side))
        run = next(run for run in sized.runs if run.name == "resnet20").replace(seed=seed)
        results.write_record(files_of(tmp_path, run), record(run, final_test_error_pct=8.0 + seed))
        assert SeedSpreads(tmp_path).of(record(run), claim) is None


def test_training_errors_have_the_noise_of_the_training_images(tmp_path: Path) -> None:
    finish(tmp_path, "resnet20", [8.4], train=10.0)
    assert "of 50,000 images (±0.13)" in decide(tmp_path, run="resnet20", below=11, column="train_error_pct").test
    finish(tmp_path, "resnet20-45k", [8.4], train=10.0, experiment="split-45k")
    cut = decide(tmp_path, "split-45k", run="resnet20-45k", below=11, column="train_error_pct")
    assert "of 45,000 images (±0.14)" in cut.test


def test_equal_seeds_have_the_noise_of_the_images_at_least(tmp_path: Path) -> None:
    finish(tmp_path, "resnet56", [7.1, 7.1])
    finish(tmp_path, "resnet110", [7.0, 7.0])
    verdict = decide(tmp_path, **ORDER)
    assert verdict.status == "inconclusive" and verdict.p_value == pytest.approx(0.73, abs=0.1)
    assert "at least binomial noise" in verdict.test


def test_a_chain_is_judged_by_one_trend(tmp_path: Path) -> None:
    chain = {"higher": "resnet20", "between": ("resnet32", "resnet44"), "lower": "resnet56"}
    for name, error in (("resnet20", 9.0), ("resnet32", 7.5), ("resnet44", 7.7)):
        finish(tmp_path, name, [error])
    assert status(tmp_path, **chain) == "not run"
    finish(tmp_path, "resnet56", [6.5])  # one step goes the other way, within the noise
    verdict = decide(tmp_path, **chain)
    assert verdict.status == "consistent (one run)" and verdict.estimate is not None
    # weights 1.5, 0.5, -0.5, -1.5 over their sum of squares, 5
    assert verdict.estimate.value == pytest.approx((1.5 * (9.0 - 6.5) + 0.5 * (7.5 - 7.7)) / 5)
    assert "slope per step" in verdict.test
    backward = {"higher": "resnet56", "between": ("resnet44", "resnet32"), "lower": "resnet20"}
    assert status(tmp_path, **backward) == "inconsistent (one run)"


def test_margins_below_and_above(tmp_path: Path) -> None:
    finish(tmp_path, "resnet56", [8.0, 8.2, 8.4])
    finish(tmp_path, "resnet110", [6.0, 6.2, 6.4])  # 2 -+ 0.65 (the floor of the noise: 0.27, 0.24)
    assert status(tmp_path, **ORDER, min_difference_pct=1.0) == "supported"
    assert status(tmp_path, **ORDER, min_difference_pct=1.8) == "inconclusive"
    assert " (claimed: more than 1.8); corrected p = " in decide(tmp_path, **ORDER, min_difference_pct=1.8).test
    assert "claimed" not in decide(tmp_path, **ORDER).test
    assert status(tmp_path, **ORDER, min_difference_pct=3.0) == "contradicted"
    assert status(tmp_path, **ORDER, max_difference_pct=3.0) == "supported"
    assert status(tmp_path, **ORDER, max_difference_pct=2.2) == "inconclusive"
    assert status(tmp_path, **ORDER, max_difference_pct=1.0) == "contradicted"
    assert status(tmp_path, **ORDER, min_difference_pct=-0.5, max_difference_pct=0.5) == "contradicted"


def test_bounds_of_one_run(tmp_path: Path) -> None:
    assert status(tmp_path, run="resnet20", below=9) == "not run"
    finish(tmp_path, "resnet20", [5, 6, 7])
    verdict = decide(tmp_path, run="resnet20", below=8)
    # t = 2 sqrt(3), 2 degrees: p = 1 - t / sqrt(2 + t^2)
    assert verdict.p_value == pytest.approx(1 - 12**0.5 / 14**0.5, abs=1e-6) and verdict.status == "inconclusive"
    assert status(tmp_path, run="resnet20", below=9) == "supported"
    assert status(tmp_path, run="resnet20", below=9, above=5.9) == "inconclusive"  # the nearer bound decides
    assert status(tmp_path, run="resnet20", below=3) == "contradicted"
    assert status(tmp_path, run="resnet20", above=9) == "contradicted"


def test_a_published_number_is_compared_by_a_prediction_interval(tmp_path: Path) -> None:
    own = {"run": "resnet110", "published": True}
    finish(tmp_path, "resnet110", [6.9])
    verdict = decide(tmp_path, **own)
    # 6.61 +- t(4) 0.16 sqrt(1 + 1/5): the paper's five seeds
    assert verdict.interval == pytest.approx((-2.7764 * 0.16 * 1.2**0.5, 2.7764 * 0.16 * 1.2**0.5), abs=1e-4)
    assert verdict.status == "consistent (one run)" and "the paper's spread between 5 seeds (±0.16)" in verdict.test
    finish(tmp_path, "resnet110", [7.2])
    assert status(tmp_path, **own) == "inconsistent (one run)"
    finish(tmp_path, "resnet110", [6.9] * 5)  # -+ t(4) 0.16 sqrt(2/5) = 0.281
    assert status(tmp_path, **own) == "contradicted"
    finish(tmp_path, "resnet110", [6.8] * 5)
    assert status(tmp_path, **own) == "supported"


def test_a_single_published_number_takes_our_spread_or_the_known_noise(tmp_path: Path) -> None:
    own = {"run": "resnet20", "published": True}
    finish(tmp_path, "resnet20", [8.29])
    verdict = decide(tmp_path, **own)  # 1.96 * 0.276 * sqrt(2)
    assert verdict.interval == pytest.approx((-0.764, 0.764), abs=2e-3) and verdict.status == "consistent (one run)"
    finish(tmp_path, "resnet20", [7.9])
    assert status(tmp_path, **own) == "inconsistent (one run)"
    finish(tmp_path, "resnet20", [8.0, 9.0, 10.0])
    verdict = decide(tmp_path, **own)  # t(2) * 1 * sqrt(1 + 1/3)
    assert verdict.interval == pytest.approx((-4.3027 * (4 / 3) ** 0.5, 4.3027 * (4 / 3) ** 0.5), abs=1e-3)


def test_claims_are_corrected_together_and_ours_apart(tmp_path: Path) -> None:
    finish(tmp_path, "resnet56", [7.0])
    finish(tmp_path, "resnet110", [6.22])
    finish(tmp_path, "resnet20", [8.4])
    experiment = find_experiment("cifar-resnet").select(seeds=[0])
    order = Claim(text="t", column="test_error_pct", **ORDER)
    others = [Claim(text="t", column="test_error_pct", run="resnet20", below=bound) for bound in (8.5, 8.6)]
    (alone,) = judge([(experiment, order)], tmp_path)
    together = judge([(experiment, claim) for claim in (order, *others)], tmp_path)
    assert alone.p_value == pytest.approx(0.027, abs=2e-3) and alone.status == "consistent (one run)"
    assert together[0].p_value == pytest.approx(3 * alone.p_value) and together[0].status == "inconclusive"
    ours = [claim.model_copy(update={"ours": True}) for claim in others]
    assert judge([(experiment, claim) for claim in (order, *ours)], tmp_path)[0] == alone


def test_a_diverged_seed_has_the_error_of_chance(tmp_path: Path) -> None:
    finish(tmp_path, "resnet56", [None])
    finish(tmp_path, "resnet110", [6.5])
    verdict = decide(tmp_path, **ORDER)
    assert verdict.values["resnet56"] == (90.0,) and verdict.status == "consistent (one run)"
    finish(tmp_path, "resnet56", [7.0, None, 7.2])
    verdict = decide(tmp_path, **ORDER)
    assert verdict.values["resnet56"] == (7.0, 90.0, 7.2) and verdict.status == "inconclusive"
    assert status(tmp_path, run="resnet56", below=95, column="response_std") == "not run"
    finish(tmp_path, "plain34", [None], experiment="plain34-vs-res34")
    chance = {"experiment": "plain34-vs-res34", "run": "plain34", "above": 50.0}
    assert decide(tmp_path, **chance).values["plain34"] == (pytest.approx(99.9),)
    assert decide(tmp_path, column="top5_error_pct", **chance).values["plain34"] == (pytest.approx(99.5),)


def test_damaged_runs_are_not_judged(tmp_path: Path) -> None:
    finish(tmp_path, "resnet110", [6.5])
    finish(tmp_path, "resnet56", [7.0, 7.1])
    path = tmp_path / "cifar10/resnet56/seed0/run.json"
    path.write_text("{")  # the other seed alone would be a choice
    verdict = decide(tmp_path, **ORDER)
    assert verdict.status == "not run" and str(path) in verdict.detail


def test_a_run_whose_curve_was_changed_is_not_judged(tmp_path: Path) -> None:
    finish(tmp_path, "resnet110", [6.5])
    finish(tmp_path, "resnet56", [7.0])
    run = next(run for run in find_experiment("cifar-resnet").runs if run.name == "resnet56")
    files = files_of(tmp_path, run)
    csv_rows.write_rows(files.curves, CurvePoint, [point(64_000)])
    results.write_record(files, record(run, final_test_error_pct=7.0))
    assert decide(tmp_path, **ORDER).status != "not run"
    csv_rows.write_rows(files.curves, CurvePoint, [point(63_999)])
    verdict = decide(tmp_path, **ORDER)
    assert verdict.status == "not run" and f"{files.curves}: damaged" in verdict.detail


def test_only_declared_seeds_count(tmp_path: Path) -> None:
    finish(tmp_path, "resnet20", [8.4, 3.0, 3.1])
    verdict = decide(tmp_path, "cifar-resnet", run="resnet20", below=9)
    assert (verdict.values, verdict.further) == ({"resnet20": (8.4,)}, {"resnet20": (3.0, 3.1)})
    assert decide(tmp_path, "split-45k", run="resnet20", below=9).values == {"resnet20": (8.4, 3.0, 3.1)}
    (tmp_path / "cifar10/resnet20/seed0").rename(tmp_path / "elsewhere")
    lacking = decide(tmp_path, "cifar-resnet", run="resnet20", below=9)
    assert lacking.detail == "resnet20 not finished with seed 0, which the experiment declares"


def test_a_window_of_the_curve(tmp_path: Path) -> None:
    finish(tmp_path, "resnet20", [8.4], train=1.0)
    run = next(run for run in find_experiment("cifar-resnet").runs if run.name == "resnet20")
    # 19,999 and 32,000 lie outside of the plateau: 20,000 to 31,999; the test error is one above
    rows = [point(i, error=e) for i, e in ((19_999, 50), (20_000, 10), (31_999, 12), (32_000, 2), (64_000, 1))]
    csv_rows.write_rows(files_of(tmp_path, run).curves, CurvePoint, rows)
    found = {"run": "resnet20", "above": 0.0, "window": "plateau"}
    assert decide(tmp_path, column="train_error_pct", **found).values["resnet20"] == (11.0,)
    assert decide(tmp_path, column="test_error_pct", **found).values["resnet20"] == (12.0,)
    assert decide(tmp_path, column="train_error_pct", **found | {"window": "end"}).values["resnet20"] == (1.0,)
    assert "before the first drop" in decide(tmp_path, column="train_error_pct", **found).detail
    csv_rows.write_rows(files_of(tmp_path, run).curves, CurvePoint, rows[-1:])
    assert status(tmp_path, column="train_error_pct", **found) == "not run"


def test_the_center_crop_does_not_decide_a_10_crop_claim(tmp_path: Path) -> None:
    for name in ("plain34", "resnet34-A"):
        finish(tmp_path, name, [25.0], experiment="plain34-vs-res34")
    experiment = find_experiment("plain34-vs-res34")
    claim = next(c for c in experiment.claims if c.protocol == "10-crop" and c.runs == ("plain34", "resnet34-A"))
    (verdict,) = judge([(experiment, claim)], tmp_path)
    assert verdict.status == "not run" and "--protocol 10-crop`" in verdict.detail


@pytest.mark.parametrize(
    "replacement",
    [
        'higher = "plain8"',
        'higher = "plain8"\nlower = "resnet8"\nrun = "plain8"\nabove = 1.0',
        'higher = "plain8"\nlower = "resnet8"\nbelow = 1.0',
        'run = "plain8"',
        'run = "plain8"\nabove = 1.0\nbetween = ["resnet8"]',
        'run = "plain8"\nabove = 1.0\nmax_difference_pct = 1.0',
        'run = "plain8"\nabove = 1.0\npublished = true',
        'run = "plain8"\neach = ["plain8"]\nabove = 1.0',
        'each = ["plain8"]',
    ],
)
def test_a_claim_of_no_kind_or_of_two_is_an_error(replacement: str, toml: Any) -> None:
    with pytest.raises(UserError, match=r"mine\.toml: claim .*expected 'higher' and 'lower'"):
        read_experiment(toml(('higher = "plain8"\nlower = "resnet8"', replacement)))


@pytest.mark.parametrize(
    ("replacement", "message"),
    [
        ('higher = "plain8"\nlower = "resnet8"\nwindow = "start"', "window"),
        ('higher = "plain8"\nlower = "resnet8"\nwindow = "end"\nprotocol = "10-crop"', "expected a curve"),
        ('run = "plain8"\npublished = true', "published: "),
    ],
)
def test_a_window_or_number_that_cannot_be_is_an_error(replacement: str, message: str, toml: Any) -> None:
    with pytest.raises(UserError, match=rf"mine\.toml: claim.*{message}"):
        read_experiment(toml(('higher = "plain8"\nlower = "resnet8"', replacement)))
