"""Whatever a file holds, reading it gives a value or a UserError of one line: a fuzzer over all readers.

FUZZ_EXAMPLES=5000 looks longer; the examples that found something are kept beside each test.
"""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from resrepro import results
from resrepro.config.toml_files import find_experiment
from resrepro.data.in_memory.images import Images
from resrepro.errors import LONGEST_LINE, UserError
from resrepro.models.saved import read_saved, write_saved
from resrepro.models.weights import read_metadata, read_net, save_weights
from resrepro.results import csv_rows
from resrepro.results.paths import RunFiles
from resrepro.results.records import CurvePoint
from resrepro.runtime.device import choose
from resrepro.training import checkpoint
from resrepro.training.loop import Training
from support.recipes import tiny_recipe, tiny_run
from support.records import point, record
from support.trainings import training

settings.register_profile(
    "readers",
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "15")),
    derandomize=True,  # the same examples each time
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
fuzz = settings(settings.get_profile("readers"))

TOML = """
title = "a test"
dataset = "shapes"
[recipe]
preset = "cifar"
total_iters = 12
lr_drop_iters = [6, 9]
warmup = { lr = 0.01, until_train_error_pct = 80.0 }
[[run]]
arch = "plain8"
seeds = [0, 1]
[[run]]
name = "deep"
arch = "plain14"
start_from = "plain8"
recipe = { lr = 0.05 }
[[claim]]
text = "plain is worse"
higher = "plain8"
lower = "deep"
column = "test_error_pct"
[[figure]]
name = "tiny"
title = "A test"
[[figure.panel]]
title = "both"
runs = ["plain8", "deep"]
"""
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9),
    st.sampled_from([10**400, -1, "", "plain8", "nan", "\0", "9" * 5000, "../x", "shapes"]),
)  # fmt: skip
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), st.binary(max_size=9)), min_size=1, max_size=3)


def edited(content: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """Replace some bytes, at places that are parts of the whole, by others."""
    for part, size, new in changes:
        at = int(part * len(content))
        content = content[:at] + new + content[at + size :]
    return content


def replaced(tree: Any, steps: list[Any], value: Any) -> Any:
    """Return nested dicts and lists with another value where the steps lead: keys, or numbers of them."""
    if not steps or not isinstance(tree, dict | list) or not tree:
        return value
    tree = copy.copy(tree)
    keys = list(tree) if isinstance(tree, dict) else range(len(tree))
    key = keys[steps[0] % len(keys)] if isinstance(steps[0], int) else steps[0]
    tree[key] = replaced(tree[key], steps[1:], value)
    return tree


steps = st.lists(st.integers(0, 50), min_size=1, max_size=4)


def well(read: Callable[[], Any]) -> Any:
    """Read; a UserError of one line that a terminal shows as it is, is as good as a value."""
    try:
        return read()
    except UserError as error:
        assert str(error).isprintable() and len(str(error)) <= LONGEST_LINE
        return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readers")


@fuzz
@given(changes=edits)
def test_bytes_of_an_experiment(changes: list[Any], folder: Path) -> None:
    path = folder / "mine.toml"
    path.write_bytes(edited(TOML.encode(), changes))
    well(lambda: find_experiment(str(path)))


@fuzz
@given(line=st.integers(0, 99), value=values)
@example(line=1, value="9" * 5000)  # found here: a line of 5,000 characters
def test_values_of_an_experiment(line: int, value: Any, folder: Path) -> None:
    lines = TOML.splitlines()
    settable = [number for number, text in enumerate(lines) if " = " in text]
    number = settable[line % len(settable)]
    lines[number] = f"{lines[number].partition(' = ')[0]} = {toml(value)}"
    path = folder / "mine.toml"
    path.write_text("\n".join(lines), encoding="utf-8", errors="replace")
    well(lambda: find_experiment(str(path)))


def toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{toml(key)} = {toml(part)}' for key, part in value.items())} }}"
    return str(value) if isinstance(value, float) else json.dumps(value).replace("null", "false")


@fuzz
@given(changes=edits)
def test_bytes_of_curves(changes: list[Any], folder: Path) -> None:
    files = RunFiles(folder=folder)
    csv_rows.write_rows(files.curves, CurvePoint, [point(5), point(10)])
    files.curves.write_bytes(edited(files.curves.read_bytes(), changes))
    points = well(lambda: results.read_points(files)) or []
    assert [p.iteration for p in points] == sorted({p.iteration for p in points})


@fuzz
@given(steps=steps, value=values)
def test_values_of_a_record(steps: list[Any], value: Any, folder: Path) -> None:
    files = RunFiles(folder=folder)
    plain = record(tiny_run()).model_dump(mode="json", exclude={"evaluations"})
    files.record.write_text(json.dumps(replaced(plain, steps, value)))
    well(lambda: read_and_compare(files))


def read_and_compare(files: RunFiles) -> None:
    """Read a record as `results.read_whole` does."""
    record = results.read_record(files)
    assert record
    results.same_run.check(results.same_run.of_record(record), tiny_run(), files.record)
    results.lacks_rows(files, record)


@fuzz
@given(changes=edits)
def test_bytes_of_json(changes: list[Any], folder: Path) -> None:
    files = RunFiles(folder=folder / "json")
    results.write_asked(files, tiny_run())
    for path, read in (
        (files.asked, lambda: results.read_asked(files)), (files.record, lambda: results.read_record(files)),
        (files.evaluations, lambda: results.run_store.read_evaluations(files.evaluations)),
    ):  # fmt: skip
        path.write_bytes(edited(files.asked.read_bytes(), changes))
        well(read)


@pytest.fixture(scope="module")
def trained() -> Training:
    draw = torch.Generator().manual_seed(0)

    def part(num: int) -> tuple[Any, Any]:
        return torch.randint(256, (num, 8, 6, 3), generator=draw).byte().numpy(), torch.arange(num).numpy() % 3

    images = Images.from_numpy(*part(30), *part(13), num_classes=3)
    found = training(images, choose("cpu", "fp32"), tiny_recipe(total_iters=2, lr_drop_iters=(1,)), "plain8")
    list(found.steps())
    return found


@fuzz
@given(changes=edits)
@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt"])
def test_bytes_of_weights(name: str, changes: list[Any], folder: Path, trained: Training) -> None:
    path, net = folder / name, trained.engine.net
    if path.suffix == ".pt":
        write_saved(path, net.state_dict(), folder / "previous.pt")
    else:
        save_weights(path, net, {"run": "shapes/plain8/seed0", "arch": "plain8"})
        well(lambda: read_metadata(path))
    path.write_bytes(edited(path.read_bytes(), changes))
    found = well(lambda: read_net(path, "plain8"))
    assert found is None or all(value.isfinite().all() for value in found.state_dict().values())


@fuzz
@given(steps=steps, value=values | st.sampled_from([torch.zeros(2, 3), torch.full((3,), math.nan), torch.zeros(0)]))
@example(steps=["iteration"], value=10**9)
@example(steps=["elapsed_s"], value=math.nan)
@example(steps=["engine"], value=torch.zeros(2, 3))  # found here: IndexError
def test_values_of_a_checkpoint(steps: list[Any], value: Any, folder: Path, trained: Training) -> None:
    run, files = tiny_run("plain8", total_iters=2, lr_drop_iters=(1,)), RunFiles(folder=folder / "checkpoint")
    if not (whole := files.folder / "whole.pt").exists():
        files.folder.mkdir()
        checkpoint.save(files, run, trained)
        files.checkpoint.rename(whole)
    write_saved(files.checkpoint, replaced(read_saved(whole), steps, value), files.previous_checkpoint)
    files.previous_checkpoint.unlink(missing_ok=True)
    well(lambda: checkpoint.load(files, run, trained))
    state = trained.state_dict()
    assert 0 <= state["iteration"] <= 2 and math.isfinite(state["elapsed_s"])
    checkpoint.load(RunFiles(folder=_alone(whole)), run, trained)  # as before, for the next example


def _alone(whole: Path) -> Path:
    folder = whole.with_name("alone")
    folder.mkdir(exist_ok=True)
    (folder / "checkpoint.pt").write_bytes(whole.read_bytes())
    return folder
