"""What `results/` holds, and that the pages say the same of it."""

import csv
import functools
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

from resrepro import results
from resrepro.config.datasets import DATA_DIR_VARIABLE, DEFAULT_DATA
from resrepro.config.run import Run, Variation
from resrepro.config.toml_files import experiment_names, find_experiment
from resrepro.data.loading import is_there
from resrepro.errors import UserError
from resrepro.paper import TEST_ERROR_PCT
from resrepro.results import same_run
from resrepro.results.paths import RunFiles
from support.processes import run

ROOT = Path(__file__).parents[2]
RECORDS = sorted((ROOT / "results").glob("*/*/seed*/run.json"))
SECOND = sorted((ROOT / "results").glob("h200/cifar10/*/seed*/run.json"))  # of a seed that is there from a CPU
QUICKSTARTS = sorted((ROOT / "results").glob("*/shapes/*/seed*/run.json"))
WEIGHTS = "weights.safetensors"
COLUMNS = (
    "final_train_error_pct",
    "final_test_error_pct",
    "final_test_error_bn_reestimated_pct",
    "final_train_error_clean_pct",
)


def named(path: Path) -> str:
    return "/".join(path.parent.parts[-2:])


@pytest.mark.parametrize("path", RECORDS + SECOND + QUICKSTARTS, ids=named)
def test_a_committed_run_is_whole(path: Path) -> None:
    record = json.loads(path.read_text())
    with (path.parent / "curves.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert record["status"] == "finished" and record["diverged_iter"] is None
    assert int(last["iteration"]) == record["recipe"]["total_iters"]
    assert float(last["test_error_pct"]) == record["final_test_error_pct"]
    assert float(last["train_error_pct"]) == record["final_train_error_pct"]
    assert re.fullmatch("[0-9a-f]{40}", record["commit"])
    assert path in QUICKSTARTS or {"responses.csv", "gradients.csv"} <= {file.name for file in path.parent.iterdir()}


@functools.cache
def declared(variation: Variation) -> dict[str, Run]:
    """The runs of all experiments that can be varied so."""
    found = {}
    for name in experiment_names():
        with suppress(UserError):
            found |= {run.name: run for run in find_experiment(name).variant(variation).runs}
    return found


@pytest.mark.parametrize("path", RECORDS + SECOND + QUICKSTARTS, ids=named)
def test_a_committed_run_is_still_the_run_that_is_asked_for(path: Path) -> None:
    record = results.read_record(RunFiles(folder=path.parent))
    assert record is not None
    variation = Variation(dataset=record.dataset, schedule_scale=record.schedule_scale, image_size=record.image_size)
    asked = declared(variation)[record.name].replace(seed=record.seed)
    same_run.check(same_run.of_record(record), asked, path)


def test_a_committed_net_has_the_recorded_error() -> None:
    """The dataset of this one is generated."""
    out = run("verify", "residual-shallow-x0.25", "--results-dir", ROOT / "results/quickstart")
    assert (
        "; test error (%) " in out
        and "predictions.csv" in out
        and out.endswith("1 finished run(s), 0 with differences\n")
    )


@pytest.mark.slow
def test_all_committed_nets_have_the_recorded_errors() -> None:
    data_dir = Path(os.environ.get(DATA_DIR_VARIABLE) or ROOT / DEFAULT_DATA)
    if not is_there("cifar10", data_dir=data_dir):
        pytest.skip(f"no cifar10 in {data_dir}; ${DATA_DIR_VARIABLE} names another folder")
    out = run("verify", "--results-dir", ROOT / "results", "--data-dir", data_dir)
    tested = re.findall(r"^(\S+): agrees with its record: .*; test error", out, re.MULTILINE)
    assert sorted(tested) == ["/".join(path.parts[-4:-1]) for path in RECORDS if path.with_name(WEIGHTS).exists()]
    assert "differs" not in out


def rows(page: str, first_cell: str) -> list[list[str]]:
    """The cells of the table under the header that starts with `first_cell`, without bold type."""
    lines = (ROOT / page).read_text().replace("**", "").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first_cell} |")) + 2
    table = lines[start : next(n for n in range(start, len(lines)) if not lines[n].startswith("|"))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def stored(run: str) -> Any:
    return json.loads((ROOT / "results/cifar10" / run / "seed0/run.json").read_text())


def record_of(label: str, ending: str) -> Any:
    """The record of what the pages call `label`: "plain-56 with a warm-up" is the run plain56-decay-all-warmup."""
    net, _, more = label.partition(" ")
    recipes = {"": "", "with a warm-up": "-warmup", "made of plain-20": "-from-plain20"}
    recipe = "-decay-weights" if more == "with decay on weights alone" else f"-decay-all{recipes[more]}"
    return stored(net.lower().replace("-", "") + recipe + ending)


@pytest.mark.parametrize(
    ("first_cell", "ending"),
    [("CIFAR-10, 64,000 iterations, seed 0", ""), ("CIFAR-10, schedule x 0.1, seed 0", "-x0.1")],
)
def test_the_findings_tables_are_the_records(first_cell: str, ending: str) -> None:
    for label, *cells in rows("docs/findings-decay-all.md", first_cell):
        record = record_of(label, ending)
        assert cells == [f"{record[column]:.2f}" for column in COLUMNS], label


def test_the_table_of_choices_is_the_records() -> None:
    for name, _, *cells in rows("docs/findings-decay-all.md", "run, schedule x 0.1, seed 0"):
        record = stored(name.strip("`") + "-x0.1")
        assert cells == [f"{record[column]:.2f}" for column in COLUMNS[:2]], name


def test_the_table_of_the_presets_nets_is_the_records() -> None:
    found = set()
    for label, train, averaged, moving, clean, papers in rows("docs/findings.md", "CIFAR-10, 64,000 iterations"):
        name, home = label.split(",")[0].split(" ")[0].lower().replace("-", ""), "h200" if "GPU" in label else "."
        path = ROOT / "results" / home / "cifar10" / name / f"seed{int('seed 1' in label)}" / "run.json"
        record = json.loads(path.read_text())
        assert [train, moving, averaged, clean] == [f"{record[column]:.2f}" for column in COLUMNS], label
        published = TEST_ERROR_PCT.get(("cifar10", name))
        assert papers == ("" if published is None else f"{published:.2f}"), label
        found.add(path.resolve())
    whole = {f"{kind}{depth}" for kind in ("plain", "resnet") for depth in (20, 32, 44, 56)}
    assert found == {path for path in (*RECORDS, *SECOND) if path.parts[-3] in whole}


def test_the_quickstarts_table_is_the_records() -> None:
    found = {name: cells for name, *cells in rows("docs/training.md", "training error (%), five seeds")}
    for residual in ("plain", "residual"):
        for depth, cell in zip(("shallow", "deep"), found[residual], strict=True):
            records = [json.loads(path.read_text()) for path in QUICKSTARTS if f"{residual}-{depth}" in path.parts]
            errors = [record["final_train_error_pct"] for record in records]
            assert len(errors) == 5 and cell.split(" (")[0] == f"{fmean(errors):.1f} ± {stdev(errors):.1f}"
            assert "(" not in cell or cell.endswith(f"({min(errors):.1f} … {max(errors):.1f})")
