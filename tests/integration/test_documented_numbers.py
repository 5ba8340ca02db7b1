"""The numbers on the pages are those of the committed records; test_committed_results.py has the tables of errors."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
import pandas as pd
import pytest

from resrepro import paper, results
from resrepro.config.toml_files import find_experiment
from resrepro.figures.initialization import NEAR, growth
from resrepro.paper.curves import published_curve, published_responses, response_difference
from resrepro.report.comparison import compare
from resrepro.report.distances import fig6, fig7
from resrepro.results.csv_rows import read_rows
from resrepro.results.distance import distances, published
from resrepro.results.laboratory import (
    GRADIENT_KINDS,
    BlockGradient,
    GradientCorrelation,
    Lesion,
    PathGradient,
    SurfacePoint,
)
from resrepro.results.paths import RunFiles
from resrepro.results.records import CurvePoint, LayerNorms, Response
from resrepro.results.tables import standard_error

ROOT = Path(__file__).parents[2]
CORNERS = ("plain20", "plain56", "resnet20", "resnet56")


def record(run: str, seed: int = 0) -> Any:
    return json.loads((ROOT / f"results/cifar10/{run}/seed{seed}/run.json").read_text())


def page(name: str) -> str:
    return " ".join((ROOT / name).read_text().replace("**", "").split())


def test_the_findings_best_errors_are_the_records() -> None:
    runs = (*(f"{net}-decay-all" for net in ("plain20", "plain56", "resnet20", "resnet56")), "resnet20-decay-weights")
    *best, last = (f"{record(run)['best_test_error_pct']:.2f}" for run in runs)
    assert f"in this order, {', '.join(best)} and {last} %" in page("docs/findings-decay-all.md")


def test_the_fiftieths_errors_are_the_records() -> None:
    for suffix, seed in (("-decay-all-x0.02", 0), ("-x0.02", 1)):
        errors = [record(f"{net}{suffix}", seed)["final_train_error_pct"] for net in ("plain56", "plain20")]
        assert "{:.1f} % of training error in plain-56, {:.1f} % in plain-20".format(*errors) in page(
            "docs/training.md"
        )


def test_the_table_of_speeds_is_the_committed_measurement() -> None:
    measured = json.loads((ROOT / "results/bench/amd-epyc-cpu-bf16.json").read_text())["rows"]
    speed = {(r["architecture"], r["loop"], r["runs_at_once"]): r for r in measured}
    text = (ROOT / "docs/performance.md").read_text().replace("**", "")
    rows = [[c.strip() for c in row.strip("|").split("|")] for row in re.findall(r"^\| ResNet-\d+ \|.*%?$", text, re.M)]
    rows = [row for row in rows if len(row) == 7]
    assert len(rows) == 6
    for label, standard, ours, ratio, two, whole, roofline in rows:
        net = label.lower().replace("-", "")
        row = speed[net, "resrepro", 1]
        digits = 1 if row["images_per_s"] < 100 else 0
        assert standard == f"{speed[net, 'standard', 1]['images_per_s']:.{digits}f}", label
        assert ours == f"{row['images_per_s']:.{digits}f}" and ratio == f"{row['times_standard']:.2f}", label
        both = speed.get((net, "resrepro", 2))
        assert two == (f"{both['images_per_s']:.0f}" if both else "–"), label
        hours = row["whole_run_s"] / 3600
        assert whole == (f"{60 * hours:.0f} min" if hours < 1.5 else f"{hours:.1f} h"), label
        assert roofline == f"{row['floor_operations_ms']:.0f}, {row['floor_bytes_ms']:.0f}", label


@pytest.mark.parametrize("cpu", ["intel-r-xeon-r-processor-cpu-bf16", "amd-epyc-cpu-fp32"])
def test_the_speeds_of_other_cpus_are_the_committed_measurements(cpu: str) -> None:
    measured = json.loads((ROOT / f"results/bench/{cpu}.json").read_text())["rows"]
    text = next(part for part in page("docs/performance.md").split("Two cores of") if cpu in part)
    ours = {row["architecture"]: row for row in measured if row["loop"] == "resrepro" and row["runs_at_once"] == 1}
    twenty, deep = ours["resnet20"], ours["resnet56"]
    speeds = f"ResNet-20 at {twenty['images_per_s']:.0f} images/s and ResNet-56 at {deep['images_per_s']:.0f}"
    assert f"{speeds}: ratios of {twenty['times_standard']:.2f} and {deep['times_standard']:.2f}" in text
    rates = (
        f"matrix product {twenty['matmul_flops'] / 1e12:.2f} TFLOP/s, copy {twenty['copy_bytes_per_s'] / 1e9:.0f} GB/s"
    )
    assert rates in text


def differences_of(experiment: str, name: str, files: RunFiles, moving: bool = False) -> dict[str, list[str]]:
    """Ours minus the paper's in each window, of the training and of the test error, with moving averages if asked."""
    run = next(run for run in find_experiment(experiment).runs if run.name == name)
    points = results.read_points(files)
    assert points
    if moving:
        points = [point.model_copy(update={"test_error_bn_averaged_pct": None}) for point in points]
    found = distances(name, published(run), [points])
    means = {which: [w.difference_pct for w in found[which].difference.windows] for which in found}
    return {which: ["–" if mean is None else f"{mean:+.2f}" for mean in its] for which, its in means.items()}


def differences(experiment: str, name: str, moving: bool = False) -> dict[str, list[str]]:
    run = next(run for run in find_experiment(experiment).runs if run.name == name)
    return differences_of(experiment, name, results.run_files(ROOT / "results", run), moving)


def row(name: str, first_cell: str) -> list[str]:
    """Return the other cells of a row of a page's table."""
    (line,) = (line for line in (ROOT / name).read_text().splitlines() if line.startswith(f"| {first_cell} |"))
    return [cell.strip().replace("−", "-").replace("**", "") for cell in line.strip("|").split("|")[1:]]


def net_name(label: str) -> str:
    return label.split(",")[0].lower().replace("-", "")


@pytest.mark.parametrize(
    "net",
    ["plain-20, two seeds", "plain-32", "plain-56", "ResNet-20, two seeds", "ResNet-32", "ResNet-44", "ResNet-56"],
)
def test_the_readmes_distances_are_those_of_the_stored_runs(net: str) -> None:
    (found,) = (cells for cells in fig6(ROOT / "results").rows if cells[:2] == (net.split(",")[0], "test"))
    seeds = range(int(found[2]))
    assert ("two seeds" in net) == (len(seeds) == 2)
    end = fmean(record(net_name(net), seed)["final_test_error_bn_reestimated_pct"] for seed in seeds)
    papers = [f" ({its.error_pct:.2f})" for its in paper.TABLE_6 if its.arch == net_name(net)]
    assert row("README.md", net) == [*found[4::2], f"{end + 1e-9:.2f}{''.join(papers)}"]  # halves go up


def means_over_nets(which: str, without: Sequence[str] = ()) -> list[tuple[str, str]]:
    """The mean over the nets of Fig. 6 in each window, and its standard error."""
    rows = [its for its in fig6(ROOT / "results").rows if its[1] == which and its[0] not in without]
    windows = zip(*([float(d) for d in its[4::2]] for its in rows), strict=True)
    return [(f"{fmean(d):+.2f}", f"{stdev(d) / len(d) ** 0.5:.2f}") for d in windows]


def test_the_means_over_the_nets_are_those_of_the_stored_runs() -> None:
    readme, recipe = (page(name).replace("−", "-") for name in ("README.md", "docs/recipe.md"))
    of_all, of_six = means_over_nets("test"), means_over_nets("test", ["plain-56"])
    said = "in the three windows are {}, {} and {}; without plain-56 {}, {} and {}, with standard errors of {} to {}."
    means, errors = [mean for mean, _ in of_six], [error for _, error in of_six]
    assert said.format(*(mean for mean, _ in of_all), *means, min(errors), max(errors)) in readme
    training = means_over_nets("train", ["plain-56"])
    assert (
        "ours minus the paper's is {}, {} and {} points of training error, with standard errors between the nets of "
        "{}, {} and {}, and {}, {} and {} of test error ({}, {} and {})."
    ).format(*(mean for mean, _ in training), *(error for _, error in training), *means, *errors) in recipe
    stopped = RunFiles(folder=ROOT / "results/h200-stopped/cifar10/plain44/seed0")
    plateau = [float(its[4]) for its in fig6(ROOT / "results").rows if its[1] == "train"]
    plateau.append(float(differences_of("cifar-plain", "plain44", stopped)["train"][0]))
    without = [d for d in plateau if d != float(differences("cifar-plain", "plain56")["train"][0])]
    seven, eight = (f"{fmean(d):.2f} ± {stdev(d) / len(d) ** 0.5:.2f}" for d in (without, plateau))
    assert f"mean is {seven} with plain-44, too, and {eight} with plain-56" in recipe


def test_the_readmes_sentences_on_all_nets_are_true_of_the_stored_runs() -> None:
    rows, text = fig6(ROOT / "results").rows, page("README.md").replace("−", "-")
    apart = max(abs(float(d)) for its in rows if its[1] == "train" and its[0] != "plain-56" for d in its[4::2])
    assert f"The training curves of all but plain-56 are within {apart:.2f} points" in text
    for net, *_, theirs, ours, _, _, _ in fig7(ROOT / "results").rows:
        assert re.search(rf"{ours} in {net} \((the paper: )?{theirs}\)", text), net
    before = [float(differences("cifar-decay-all", f"{net}-decay-all")["test"][0]) for net in CORNERS]
    assert f"plain-20 and -56 and ResNet-20 and -56 are {min(before):.2f} to {max(before):.2f} points above" in text
    hours = [f"{record(net)['wall_time_s'] / 3600:.1f}" for net in ("plain56", "resnet20")]
    assert "plain-56 took {} hours, and ResNet-20 {}.".format(*hours) in text
    second = json.loads((ROOT / "results/h200/cifar10/plain56/seed0/run.json").read_text())
    assert f"on the GPU, ends at {second['final_test_error_bn_reestimated_pct']:.2f} %" in text


STOPPED = {
    "plain-44, stopped at 50,822": 50_822,
    "plain-56, on a GPU, stopped at 29,647": 29_647,
    "ResNet-56, stopped at 30,431": 30_431,
}


@pytest.mark.parametrize(
    "first_cell",
    [
        "plain-20, seed 0", "plain-20, seed 1", "plain-32, seed 0", "plain-56, seed 0", "plain-56, on a GPU",
        "ResNet-20, seed 0", "ResNet-20, seed 1", "ResNet-32, seed 0", "ResNet-44, seed 0", "ResNet-56, seed 0",
        *STOPPED,
    ],
)  # fmt: skip
def test_the_three_choices_stand_where_their_runs_stand(first_cell: str) -> None:
    name, seed = net_name(first_cell), int("seed 1" in first_cell)
    home = "h200-stopped" if first_cell in STOPPED else "h200" if "on a GPU" in first_cell else "."
    files = RunFiles(folder=ROOT / "results" / home / f"cifar10/{name}/seed{seed}")
    experiment = "cifar-plain" if "plain" in name else "cifar-resnet"
    ours, moving = (differences_of(experiment, name, files, moving=m) for m in (False, True))
    windows = [", ".join(ours[which]) for which in ("train", "test")]
    cells = row("docs/recipe.md", first_cell)
    assert cells[:3] == [*windows, moving["test"][0]]
    if files.responses.exists():
        std = fmean(r.std for r in read_rows(files.responses, Response))
        theirs = published_responses(name)
        assert cells[3] == f"{std:.2f}" + ("" if theirs is None else f" ({fmean(theirs.std):.2f})")
    else:
        assert cells[3] == ""
        assert results.read_points(files)[-1].iteration == STOPPED[first_cell] // 1000 * 1000


def test_single_layers_respond_as_the_page_says() -> None:
    found: dict[str, list[float]] = {"resnet56": [], "others": []}
    for name in CORNERS:
        theirs = published_responses(name)
        assert theirs is not None
        for home in ("results/cifar10", "results/h200/cifar10"):
            for file in (ROOT / home / name).glob("seed*/responses.csv"):
                ours = [r.std for r in read_rows(file, Response)]
                found[name if name in found else "others"] += [a / b for a, b in zip(ours, theirs.std, strict=True)]
    deep, others = ([f"{min(its):.2f}", f"{max(its):.2f}"] for its in found.values())
    said = "single layers of ResNet-56 respond {} to {} times as strongly, those of the other nets {} to {} times."
    assert said.format(*deep, *others) in page("docs/recipe.md")


def test_the_net_with_bn_on_64_images_stands_where_its_run_stands() -> None:
    name = "resnet20-32k-fc-gaussian-bn-64"
    ours, moving = (differences("recipe-forensics", name, moving=m) for m in (False, True))
    std = fmean(r.std for r in read_rows(ROOT / f"results/cifar10/{name}/seed0/responses.csv", Response))
    cells = row("docs/recipe.md", "ResNet-20, the three choices, 32,000 iterations, BN on 64 images")
    assert cells == [ours["train"][0], ours["test"][0], moving["test"][0], f"{std:.2f} (1.62)"]


@pytest.mark.parametrize(("nets", "arch"), [("plain", "plain"), ("residual", "resnet")])
@pytest.mark.parametrize(("words", "choice"), [("", ""), (", as in `cifar`", "-cifar")])
def test_the_phase_diagrams_means_are_the_records(nets: str, arch: str, words: str, choice: str) -> None:
    cells = []
    for lr in ("0.01", "0.03", "0.1"):
        errors = []
        for depth in (14, 38):
            folder = ROOT / f"results/phase-diagram/shapes/{arch}{depth}-lr{lr}-128images{choice}"
            records = [json.loads(path.read_text()) for path in folder.glob("seed*/run.json")]
            errors.append([record["final_train_error_pct"] for record in records])
        assert [*map(len, errors)] == [5, 5]
        cells.append(f"{fmean(errors[1]) - fmean(errors[0]):+.1f} ± {standard_error(*errors):.1f}")
    assert row("docs/laboratory.md", f"{nets}, 128 images{words}") == cells


def costs_of_depth(arch: str, lr: str, choices: Sequence[str], seed: int) -> list[float]:
    """Return what depth costs in training error, in points, with mini-batches of 32 images, for each choice."""
    folder = ROOT / "results/phase-diagram/shapes"
    records = [
        [json.loads((folder / f"{arch}{depth}-lr{lr}{choice}/seed{seed}/run.json").read_text()) for choice in choices]
        for depth in (14, 38)
    ]
    shallow, deep = ([record["final_train_error_pct"] for record in of_depth] for of_depth in records)
    return [d - s for s, d in zip(shallow, deep, strict=True)]


def test_what_depth_costs_with_32_images_is_in_the_records() -> None:
    short = ["", "-warmup100", "-fan_in", "-weight_decay0.001"]
    every, rates, seeds = [*short, "-warmup"], ("0.01", "0.03", "0.1"), range(5)
    plain = [cost for lr in rates for seed in seeds for cost in costs_of_depth("plain", lr, every, seed)]
    slow, fast = ([c for seed in seeds for c in costs_of_depth("resnet", lr, every, seed)] for lr in ("0.01", "0.1"))
    middle = [costs_of_depth("resnet", "0.03", short, seed) for seed in seeds]
    words = page("docs/laboratory.md")
    assert f"in each seed, by {min(plain):.0f} to {max(plain):.0f} points" in words
    assert f"but for {max(slow):.1f} points in one of 25 pairs" in words and [c > 0 for c in slow].count(True) == 1
    assert f"whatever the choice, by {min(fast):.0f} to {max(fast):.0f} points" in words and len(slow) == 25
    said = "points with seed 0, {} with seed 1, {} with seed 2, {} with seed 3 and {} with seed 4"
    first, *others = (f"{min(costs):.0f} to {max(costs):.0f}" for costs in middle)
    assert f"costs residual nets {first.replace('-', '−')} {said.format(*others)}" in words


@pytest.mark.parametrize(
    ("net", "whose"),
    [
        ("plain-20", "the paper, ours"),
        ("plain-32", "the paper, ours"),
        ("plain-44", "the paper, ours"),
        ("plain-56", "the paper, ours, ours on the GPU"),
        ("ResNet-20", "the paper, ours"),
        ("ResNet-32", "the paper, ours"),
        ("ResNet-44", "the paper, ours"),
        ("ResNet-56", "the paper, ours"),
    ],
)
def test_what_the_first_drop_leaves_is_the_curves(net: str, whose: str) -> None:
    name = net.lower().replace("-", "")
    theirs = published_curve("cifar10", name, "train")
    assert theirs is not None
    curves = [(theirs.iterations, theirs.error_pct)]
    homes = ["h200-stopped" if name == "plain44" else ".", *["h200"] * ("GPU" in whose)]
    for home in homes:
        points = results.read_points(RunFiles(folder=ROOT / f"results/{home}/cifar10/{name}/seed0"))
        middles = [point.iteration - 500 for point in points]
        shared = theirs.iterations[theirs.iterations <= middles[-1]]
        curves.append((shared, np.interp(shared, middles, [point.train_error_pct for point in points])))
    cells: list[list[str]] = [[], [], []]
    for number, (iterations, errors) in enumerate(curves):
        plateau, after = (iterations >= 20_000) & (iterations < 32_000), (iterations >= 33_000) & (iterations < 48_000)
        line, covariance = np.polyfit(iterations[plateau] - 32_000, errors[plateau], 1, cov=True)
        noise = "" if number else f" ± {covariance[1, 1] ** 0.5:.2f}"
        left = errors[after].mean()
        for cell, text in zip(cells, (f"{line[1]:.2f}{noise}", f"{left:.2f}", f"{left / line[1]:.2f}"), strict=True):
            cell.append(text)
    assert row("docs/recipe.md", f"{net}: {whose}") == [", ".join(cell) for cell in cells]


def test_what_stored_nets_have_after_the_drop_is_the_stored_points() -> None:
    first, second = "plain56-32k-fc-gaussian", "plain56-32k-guess"
    names = (first, f"{first}-bn_devices=2", f"{second}-bn_devices=1", second)
    points = [read_rows(ROOT / f"results/after-drop/{name}.csv", CurvePoint)[0] for name in names]
    train, test = ([f"{e:.2f}" for e in column] for column in zip(*map(errors_pct, points), strict=True))
    words, notebook = page("docs/recipe.md"), page("docs/recipe-log.md")
    assert "is at {} and {} % of test error then, the second at {} and {},".format(*test) in words
    assert "of training error they have {} and {}, {} and {},".format(*train) in words
    assert all(f"| {trained} | {tested} |" in notebook for trained, tested in zip(train, test, strict=True))


def errors_pct(point: CurvePoint) -> tuple[float, float]:
    return point.train_error_pct, point.shown_test_error_pct


def test_how_far_the_papers_net_is_from_ours_to_the_worse_one_around_the_drop() -> None:
    ours, worse = (
        pd.read_csv(ROOT / f"results/cifar10/plain56-32k-{name}/seed0/curves.csv", index_col="iteration")
        for name in ("fc-gaussian", "guess")
    )
    found = published_curve("cifar10", "plain56", "test")
    assert found is not None
    papers = pd.Series(found.error_pct, found.iterations)
    columns = (papers, *(curves["test_error_bn_averaged_pct"] for curves in (ours, worse)))
    last = [column.loc[28000:32000].mean() for column in columns]
    assert "({:.2f} %; ours {:.2f}, the other {:.2f})".format(*last) in page("docs/recipe.md")
    for share, (value, low, high) in ((1 / 4, last), (4 / 5, (papers[33000], 12.83, 15.0))):
        assert (value - low) / (high - low) == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("net", ["plain-20", "plain-56", "ResNet-20", "ResNet-56"])
def test_decay_on_all_stands_where_its_stored_runs_stand(net: str) -> None:
    before = differences("cifar-decay-all", f"{net.lower().replace('-', '')}-decay-all")
    cells = row("docs/recipe.md", f"{net}, decay on all")
    assert [cells[0], cells[2]] == [before["train"][0], before["test"][0]]


def test_plain56s_ends_are_the_records() -> None:
    its, second = record("plain56"), json.loads((ROOT / "results/h200/cifar10/plain56/seed0/run.json").read_text())
    said = "ends at {:.2f} % training error and {:.2f} % test error (on the GPU {:.2f} and {:.2f})"
    keys = ("final_train_error_pct", "final_test_error_bn_reestimated_pct")
    assert said.format(*(one[key] for one in (its, second) for key in keys)) in page("docs/recipe.md")
    text = page("docs/findings.md")
    for column in ("train", "test"):
        ours, papers = [], []
        for name in ("plain56", "plain20"):
            run = next(run for run in find_experiment("cifar-plain").runs if run.name == name)
            points = [p for p in results.read_points(results.run_files(ROOT / "results", run)) if p.iteration >= 55_000]
            ours.append(fmean(p.train_error_pct if column == "train" else p.shown_test_error_pct for p in points))
            curve = published(run)[column]
            papers.append(float(curve.error_pct[curve.iterations >= 55_000].mean()))
        assert f"{ours[0] - ours[1]:.1f} points" in text and f"({ours[0]:.2f} and {ours[1]:.2f} %)" in text
        paper = f"in the paper's figure {papers[0] - papers[1]:.1f} ({papers[0]:.2f} and {papers[1]:.2f})"
        assert paper in text


def test_the_order_of_the_nets_is_as_certain_as_the_page_says() -> None:
    def p(*names: str) -> float:
        return compare(*(RunFiles(folder=ROOT / f"results/cifar10/{name}") for name in names))["bn_averaged"].p_value

    seeds = [p(f"plain20/seed{seed}", "plain32/seed0") for seed in (0, 1)]
    depths = [20, 32, 44, 56]
    pairs = [p(f"resnet{a}/seed0", f"resnet{b}/seed0") for a, b in itertools.pairwise(depths)]
    text = page("docs/findings.md")
    assert "(p = {:.2f} and {:.2f} for the two seeds of plain-20)".format(*seeds) in text
    assert f"nor can ResNet-44 and -56 ({pairs[2]:.2f})" in text
    assert {f"{value:.2f}" for value in pairs[:2]} == {"0.04"} and "differ with p = 0.04 each" in text


def test_the_evenness_of_gradients_is_that_of_the_stored_norms() -> None:
    norms = read_rows(ROOT / "results/cifar10/plain56/seed0/gradients.csv", LayerNorms)
    factors = []
    for iteration in sorted({row.iteration for row in norms}):
        convolutions = [row.gradient_norm for row in norms if row.iteration == iteration][:-1]
        factors.append(max(convolutions) / min(convolutions))
    text = page("docs/findings.md")
    assert f"differ by a factor of {factors[0]:,.0f}; at 500 iterations by {factors[1]:.1f}" in text
    assert f"by {min(factors[2:]):.1f} to {max(factors[2:]):.1f}" in text and len(factors) == 8


def test_the_lesions_on_the_page_are_the_stored_ones() -> None:
    found = {}
    for net in ("plain20", "plain56", "resnet20"):
        rows = read_rows(ROOT / f"results/cifar10/{net}/seed0/lesions.csv", Lesion)
        found[net] = {kind: [r.error_pct for r in rows if r.kind == kind] for kind in ("whole", "one")}
        found[net]["four"] = [r.error_pct for r in rows if r.kind == "several" and r.num_blocks == 4]
    plain, deep, residual = found.values()
    text = page("docs/laboratory.md")
    whole = ", ".join(f"{its['whole'][0]:.2f}" for its in (plain, deep))
    assert f"their errors are {whole} and {residual['whole'][0]:.2f} %" in text
    for name, its in (("plain-56's is", deep), ("Plain-20's is", plain)):
        assert f"{name} {median(its['one']):.2f} %" in text and f"{min(its['one']):.2f} at best" in text
    assert (
        f"ResNet-20's is {median(residual['one']):.2f} %, at best {min(residual['one']):.2f} %, and at worst "
        f"{max(residual['one']):.2f} %" in text
    )
    assert f"Without four blocks ResNet-20's is {median(residual['four']):.2f} % (median)" in text


def test_the_lesions_of_a_second_seed_are_the_stored_ones() -> None:
    medians, nums = [], []
    for seed in (0, 1):
        rows = read_rows(ROOT / f"results/cifar10/resnet20/seed{seed}/lesions.csv", Lesion)
        costs = [r.error_pct - rows[0].error_pct for r in rows if r.kind == "one"]
        medians.append(median(costs))
        nums.append(sum(cost > 10 for cost in costs))
    assert "It costs it {:.2f} in the median with seed 0, and {:.2f} with seed 1".format(*medians) in page(
        "docs/laboratory.md"
    )
    assert nums == [8, 7]


@pytest.mark.parametrize("net", ["ResNet-20", "ResNet-32", "ResNet-44", "ResNet-56"])
def test_the_lesions_by_depth_are_the_stored_ones(net: str) -> None:
    files = RunFiles(folder=ROOT / f"results/cifar10/{net_name(net)}/seed0")
    rows, norms = read_rows(files.lesions, Lesion), pd.DataFrame(vars(r) for r in read_rows(files.paths, PathGradient))
    one = [r.error_pct for r in rows if r.kind == "one"]
    four = [r.error_pct for r in rows if r.kind == "several" and r.num_blocks == 4]
    whole, middle = rows[0].error_pct, median(one)
    lengths = norms.groupby("length").agg({"gradient_norm": "mean", "num_paths": "first"}).prod(axis=1)
    mean_length = (lengths * lengths.index).sum() / lengths.sum()
    cells = [
        f"{whole:.2f}", f"{middle:.2f}, {max(one):.2f}", f"{middle - whole:.2f}", f"{median(four):.2f}",
        f"{mean_length:.1f}, {len(one) / 2:.1f}",
    ]  # fmt: skip
    text = (ROOT / "docs/laboratory.md").read_text()
    assert f"| {net} | {' | '.join(cells)} |" in text
    apart = norms.groupby("length")["gradient_norm"].agg(lambda its: its.max() / its.min()).max()
    assert net == "ResNet-20" or f"{apart:.0f}" in re.findall(r"up to (\d+), (\d+) and (\d+) times", text)[0]


@pytest.mark.parametrize(
    ("net", "run"),
    [
        ("plain-20", "plain20"),
        ("plain-56", "plain56"),
        ("plain-56 at 32,000", "plain56-32k-fc-gaussian"),
        ("ResNet-20", "resnet20"),
        ("ResNet-20 at 32,000", "resnet20-32k-fc-gaussian"),
        ("ResNet-56", "resnet56"),
    ],
)
def test_the_surfaces_on_the_page_are_the_stored_ones(net: str, run: str) -> None:
    rows = read_rows(ROOT / f"results/cifar10/{run}/seed0/surface.csv", SurfacePoint)
    points = {(r.x, r.y): r for r in rows if r.bn == "anew"}
    line = {round(r.x, 2): r.loss for r in rows if r.bn == "stored"}
    cells = [f"{points[0, 0].loss:.3f} ± {points[0, 0].loss_error:.3f}"]
    for r, digits in ((0.25, 2), (0.5, 2), (1.0, 1)):
        around = [points[at].loss for at in ((r, 0), (-r, 0), (0, r), (0, -r))]
        cells.append(f"{min(around):.{digits}f} to {max(around):.{digits}f}")
    for r, digits in ((0.25, 2), (1.0, 1)):
        low, high = sorted((line[-r], line[r]))
        cells.append(f"{low:.{digits}f} to {high:.{digits}f}")
    assert f"| {net} | {' | '.join(cells)} |" in (ROOT / "docs/laboratory.md").read_text()


def test_pre_activation_at_a_tenth_is_the_stored_runs() -> None:
    text, errors, medians, wholes = page("docs/laboratory.md"), [], [], set()
    for name in ("preact20-x0.1", "resnet20-x0.1"):
        its = record(name)
        errors += [its["final_train_error_pct"], its["final_test_error_bn_reestimated_pct"]]
        rows = read_rows(ROOT / f"results/cifar10/{name}/seed0/lesions.csv", Lesion)
        medians.append(median(r.error_pct for r in rows if r.kind == "one"))
        wholes |= {r.error_pct for r in rows if r.kind == "whole"}
    expected = "`preact20` ends at {:.2f} % training error and {:.2f} % test error, ResNet-20 at {:.2f} and {:.2f} %"
    assert expected.format(*errors) in text
    (whole,) = wholes
    assert "it is higher, {:.2f} % and {:.2f} %, and both whole nets have {:.2f} %".format(*medians, whole) in text
    rows = read_rows(ROOT / "results/cifar10/plain20-x0.1/seed0/lesions.csv", Lesion)
    plain = median(r.error_pct for r in rows if r.kind == "one") - rows[0].error_pct
    assert f"loses {plain:.2f} points in the median, ResNet-20 there {medians[1] - whole:.2f}" in text


def test_pre_activation_at_a_fiftieth_is_the_records() -> None:
    nets = "preact56", "resnet56-signals", "plain20-signals"
    pre, residual, plain = (record(f"{net}-x0.02")["final_train_error_pct"] for net in nets)
    text = page("docs/laboratory.md")
    assert f"it ends at {pre:.1f} %, {residual - pre:.1f} points below ResNet-56, as expected" in text
    assert f"below plain-20, which ends at {plain:.1f} % there; ResNet-56 is above it" in text
    assert pre < plain < residual
    pre20, residual20 = (record(f"{net}-x0.02")["final_train_error_pct"] for net in ("preact20", "resnet20"))
    assert f"`preact20` ends at {pre20:.1f} % training error, ResNet-20 at {residual20:.1f}." in text
    assert (
        f"cost the ResNet {residual - residual20:.1f} points, and with pre-activation they gain {pre20 - pre:.1f}."
        in text
    )


def test_the_nets_of_20_layers_at_a_tenth_are_the_stored_runs() -> None:
    text = page("docs/laboratory.md")
    errors, ranges = [], []
    for name in ("highway20-x0.1", "resnet20-x0.1", "plain20-x0.1"):
        its = record(name)
        errors += [its["final_train_error_pct"], its["final_test_error_bn_reestimated_pct"]]
    assert "ends at {:.2f} % training error and {:.2f} % test error, ResNet-20".format(*errors) in text
    assert "(0.27M) at {:.2f} and {:.2f} %, plain-20 at {:.2f} and {:.2f} %".format(*errors[2:]) in text
    single = record("resnet20-1layer-x0.1")
    ends = single["final_train_error_pct"], single["final_test_error_bn_reestimated_pct"]
    assert "`resnet20-1layer` ends at {:.2f} % training error and {:.2f} % test error".format(*ends) in text
    three = record("resnet20-3layer-x0.1")
    ends = three["final_train_error_pct"], three["final_test_error_bn_reestimated_pct"]
    assert "(`resnet20-3layer`) it ends at {:.2f} and {:.2f} %".format(*ends) in text
    paths = read_rows(ROOT / "results/cifar10/resnet20/seed0/paths.csv", PathGradient)
    norms = [[row.gradient_norm for row in paths if row.length == length] for length in range(1, 9)]
    assert f"differ by up to {max(max(its) / min(its) for its in norms):.0f} times" in text
    for name in ("preact20-x0.1", "resnet20-x0.1"):
        rows = read_rows(ROOT / f"results/cifar10/{name}/seed0/lesions.csv", Lesion)
        one = [r.error_pct for r in rows if r.kind == "one"]
        ranges += [min(one), max(one)]
    assert "range from {:.2f} to {:.2f} % and from {:.2f} to {:.2f} %".format(*ranges) in text


def test_the_difference_of_the_two_nets_of_20_layers_is_that_of_the_stored_runs() -> None:
    ours, papers = [], []
    for experiment, name in (("cifar-resnet", "resnet20"), ("cifar-plain", "plain20")):
        run = next(run for run in find_experiment(experiment).runs if run.name == name)
        points = results.read_points(results.run_files(ROOT / "results", run))
        ours.append(fmean(p.shown_test_error_pct for p in points if p.iteration >= 55_000))
        papers.append(distances(name, published(run), [points])["test"].difference.windows[2].paper_pct)
    gaps = [its[1] - its[0] for its in (ours, papers)]
    sentence = (
        "{:.1f} points below plain-20's ({:.2f} and {:.2f} %), in the paper's figure {:.1f} ({:.2f} and {:.2f})".format(
            gaps[0], *ours, gaps[1], *papers
        )
    )
    assert sentence in page("docs/findings.md")


@pytest.mark.parametrize(
    ("name", "label"), [("resnet20-decay-all", "decay on all"), ("resnet20-decay-weights", "decay on weights")]
)
def test_the_evidence_on_the_recipe_is_of_the_stored_runs(name: str, label: str) -> None:
    found = differences("cifar-decay-all", name)
    cells = [*found["train"], *found["test"]]
    theirs = published_responses("resnet20")
    assert theirs is not None
    std = [row.std for row in read_rows(ROOT / f"results/cifar10/{name}/seed0/responses.csv", Response)]
    by_layer = np.sqrt(np.mean(response_difference(theirs, std).by_layer ** 2))
    cells += [f"{np.mean(std):.2f} ({theirs.std.mean():.2f})", f"{by_layer:.2f}"]
    assert f"| {label} | {' | '.join(cells)} |".replace("-", "−") in (ROOT / "docs/recipe-log.md").read_text()


def test_the_gradients_of_untrained_nets_on_the_page_are_the_stored_ones() -> None:
    text, folder = page("docs/laboratory.md"), ROOT / "results/laboratory"
    along = pd.DataFrame([dict(r) for r in read_rows(folder / "correlations.csv", GradientCorrelation)])
    near = along[along["lag"] == NEAR].groupby(["kind", "depth"])["correlation"].mean()
    for name, kind in (("plain", "plain"), ("residual", "resnet")):
        cells = [f"{abs(round(near[kind, depth], 2)):.2f}" for depth in (8, 20, 32, 56, 110)]
        assert f"| {name} | {' | '.join(cells)} |" in text
    blocks = pd.DataFrame([dict(r) for r in read_rows(folder / "block-gradients.csv", BlockGradient)])
    factors = growth(blocks).groupby(["kind", "depth"]).mean()
    low, high = ([f"{ends(factors[kind]):.2f}" for kind in GRADIENT_KINDS] for ends in (min, max))
    assert f"In our plain nets it is {low[0]} to {high[0]} at each depth from 14 to 110" in text
    assert f"falls with depth from {high[1]} to {low[1]}; in plain nets without BN it is {low[2]} to {high[2]}" in text
    assert f"in ResNets without BN, {low[3]} to {high[3]}." in text


def test_the_bottlenecks_errors_are_the_records() -> None:
    nets = "plain20", "plain56", "resnet20", "resnet56"
    errors = [record(f"{net}-bottleneck-x0.02")["final_train_error_pct"] for net in nets]
    text = page("docs/laboratory.md")
    assert (
        "`plain20-bottleneck` ends at {:.1f} % training error, `plain56-bottleneck` at {:.1f}".format(*errors) in text
    )
    assert "`resnet20-bottleneck` at {:.1f} and `resnet56-bottleneck` at {:.1f}.".format(*errors[2:]) in text
    below, above = errors[1] - errors[3], errors[3] - errors[2]
    assert f"by {errors[1] - errors[0]:.0f} points here" in text
    assert f"is only {below:.0f} points below the plain one, and {above:.0f} above that with 20 layers" in text


def test_one_and_three_layers_in_f_at_a_fiftieth_are_the_records() -> None:
    nets = "resnet56-1layer", "resnet56-3layer", "plain56-signals", "resnet56-signals"
    one, three, plain, residual = (record(f"{net}-x0.02")["final_train_error_pct"] for net in nets)
    text = page("docs/laboratory.md")
    assert f"with one layer it ends at {one:.1f} %, between the two, but only {plain - one:.1f} points below" in text
    assert f"it ends at {three:.1f} %, {three - residual:.1f} points above ResNet-56" in text and residual < one < plain


def test_the_signals_over_the_training_are_the_records() -> None:
    """The ratio of gradients, the factor between convolutions, the responses' deviations, and the errors."""
    ratios, factors, stds, errors = {}, {}, {}, {}
    for net in ("plain20", "plain56", "resnet56"):
        files = RunFiles(folder=ROOT / f"results/cifar10/{net}-signals-x0.02/seed0")
        rows = pd.DataFrame(map(dict, read_rows(files.gradients, LayerNorms)))
        gradients = rows[rows["name"].str.contains("conv")].pivot(
            index="iteration", columns="layer", values="gradient_norm"
        )
        ratio = gradients[1] / gradients[gradients.columns.max()]
        start, later = ratio[0], ratio.loc[100:]
        ratios[net] = f"{start:.{0 if start > 10 else 1}f}", f"{later.min():.1f} to {later.max():.1f}"
        factors[net] = gradients.max(axis=1) / gradients.min(axis=1)
        stds[net] = rows.pivot(index="iteration", columns="layer", values="response_std")
        errors[net] = record(f"{net}-signals-x0.02")["final_train_error_pct"]
        if net == "resnet56":
            assert [*ratio[ratio < 1].index] == [100, 300]
    text = page("docs/laboratory.md").replace(",", "")
    assert "plain-56's ratio is {} at initialization and {} from iteration 100 on".format(*ratios["plain56"]) in text
    assert "ResNet-56's is {} and then {}: it is below 1 at iterations 100 and 300".format(*ratios["resnet56"]) in text
    assert "(Plain-20's is {} and then {}.)".format(*ratios["plain20"]) in text
    assert f"has a deviation below {min(std.min(axis=None) for std in stds.values()):.2f}" in text
    plain, residual = ([factors[net][i] for i in (0, 100, 1280)] for net in ("plain56", "resnet56"))
    assert (
        "a factor of {:.0f} at initialization by {:.1f} at iteration 100 and by {:.1f} at the end".format(*plain)
        in text
    )
    assert "those of ResNet-56 by {:.1f} {:.0f} and {:.1f}".format(*residual) in text
    assert (
        f"plain-56 ends at {errors['plain56']:.1f} % of training error ResNet-56 at {errors['resnet56']:.1f} and "
        f"plain-20 at {errors['plain20']:.1f}"
    ) in text
    first = stds["plain56"][1]
    assert f"grows to {first[100]:.1f} within these hundred iterations and is {first[1280]:.1f} at the end" in text
    assert max(stds[net].max(axis=None) for net in ("plain20", "resnet56")) < 1.2
