"""A checkpoint whose bytes or values are not those that were written is never used."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from resrepro.data.in_memory.images import Images
from resrepro.errors import UserError
from resrepro.models import saved
from resrepro.models.saved import Damaged, read_saved, write_saved
from resrepro.results.paths import RunFiles
from resrepro.runtime.device import Compute
from resrepro.training import checkpoint
from resrepro.training.loop import Training
from support.recipes import tiny_run
from support.trainings import Killed, rows, runner, same, state, training, weights

RUN = tiny_run()


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    return RunFiles(folder=tmp_path)


def trained(images: Images, compute: Compute, *stops: int, files: RunFiles) -> Training:
    """A training, with a checkpoint at each of these iterations."""
    found = training(images, compute)
    for _ in found.steps():
        if found.iteration in stops:
            checkpoint.save(files, RUN, found)
        if found.iteration == stops[-1]:
            break
    return found


def test_no_damage_is_read(tmp_path: Path) -> None:
    file, draw = tmp_path / "x.pt", random.Random(0)
    write_saved(file, {"weights": torch.arange(40.0)}, tmp_path / "previous")
    whole = file.read_bytes()
    assert torch.load(file, weights_only=True)["weights"].equal(torch.arange(40.0))  # it is still torch's format
    damaged = [whole[:end] for end in (0, len(whole) // 2, *range(len(whole) - 90, len(whole)))]
    damaged += [bytes(64) + whole[64:], whole[:-64] + bytes(64), whole[:-80] + bytes(80)]
    for at in [draw.randrange(len(whole)) for _ in range(300)] + [*range(len(whole) - 90, len(whole))]:
        damaged.append(whole[:at] + bytes([whole[at] ^ 1 << draw.randrange(8)]) + whole[at + 1 :])
    for content in damaged:
        file.write_bytes(content)
        with pytest.raises(Damaged):
            read_saved(file)


@pytest.mark.usefixtures("few_images")
@pytest.mark.parametrize("fault", ["flip", "cut", "gone"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before_it_and_the_bits_are_the_same(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, lines = checkpoint.save, []

    def die(*arguments: Any) -> None:
        save(*arguments)
        if arguments[2].iteration == 10:
            raise Killed

    assert runner(tmp_path / "whole").run_all([RUN]) == []
    monkeypatch.setattr(checkpoint, "save", die)
    with pytest.raises(Killed):
        runner(tmp_path / "cut").run_all([RUN])
    monkeypatch.undo()
    files = RunFiles(folder=tmp_path / "cut" / RUN.path)
    content = bytearray(files.checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    match fault:
        case "flip":
            files.checkpoint.write_bytes(content)
        case "cut":
            files.checkpoint.write_bytes(content[:1000])
        case "gone":
            files.checkpoint.unlink()
    again = runner(tmp_path / "cut")
    monkeypatch.setattr(again.reporter, "started", lambda _, t: lines.extend([t.iteration, *t.engine.notes]))
    assert again.run_all([RUN]) == []
    what = "missing" if fault == "gone" else "damaged"
    assert lines[0] == 5 and f"checkpoint.pt: {what}" in lines[-1] and "from the checkpoint before it" in lines[-1]
    assert rows(tmp_path / "cut", RUN) == rows(tmp_path / "whole", RUN)
    assert state(tmp_path / "cut", RUN) == state(tmp_path / "whole", RUN)
    assert not files.previous_checkpoint.exists()


def test_the_damaged_one_does_not_take_the_place_of_the_one_before_it(
    images: Images, fp32: Compute, files: RunFiles
) -> None:
    trained(images, fp32, 5, 7, files=files)
    files.checkpoint.write_bytes(b"damaged")
    second = training(images, fp32)
    checkpoint.load(files, RUN, second)
    assert second.iteration == 5 and not files.previous_checkpoint.exists()
    assert read_saved(files.checkpoint)["iteration"] == 5
    files.previous_checkpoint.write_bytes(files.checkpoint.read_bytes())
    for path in (files.checkpoint, files.previous_checkpoint):
        path.write_bytes(b"damaged")
    with pytest.raises(Damaged, match="move it away"):
        checkpoint.load(files, RUN, second)


HOSTILE: dict[str, Any] = {
    "iteration": ["x", 10**9, -1, 6.0, None, True],
    "elapsed_s": [float("nan"), -1.0, "x"],
    "warmup_opened_iter": ["x", 9],
    "drops": [["x"], [10**9], 3],
    "points": [[], [{}], "x", None],
    "norms": [[{"iteration": "x"}], 3],
    "shares": [3],
    "at_last_point": [{"loss": float("inf"), "num_wrong": 0.0, "num_images": 1.0}, {}, None],
    "at_gate_check": [[]],
    "arithmetic": [{}, None],
    "images": [3],
    "engine": [{}, None, 3],
    "run": [{}, None, 3],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in HOSTILE.items() for value in values])
def test_a_hostile_value_is_one_line(images: Images, fp32: Compute, files: RunFiles, key: str, value: object) -> None:
    trained(images, fp32, 7, files=files)
    write_saved(files.checkpoint, {**read_saved(files.checkpoint), key: value}, files.folder / "away")
    second = training(images, fp32)
    before = weights(second)
    with pytest.raises(UserError) as caught:
        checkpoint.load(files, RUN, second)
    assert "\n" not in str(caught.value) and str(files.checkpoint) in str(caught.value)
    assert same(weights(second), before) and second.iteration == 0


@pytest.mark.parametrize("part", ["model", "momentum", "totals", "lr"])
def test_values_that_are_not_finite_are_neither_written_nor_read(
    images: Images, fp32: Compute, files: RunFiles, part: str
) -> None:
    first = trained(images, fp32, 5, files=files)
    content = read_saved(files.checkpoint)
    engine = content["engine"]
    if part == "lr":
        engine["lr"] = float("nan")
    else:
        tensor = engine[part] if part == "totals" else next(iter(engine[part].values()))
        tensor.fill_(float("nan"))
    write_saved(files.checkpoint, content, files.previous_checkpoint)
    with pytest.raises(UserError, match="values that are not finite"):
        checkpoint.load(files, RUN, training(images, fp32))
    files.checkpoint.unlink()
    next(first.engine.net.parameters()).data[0] = float("inf")
    checkpoint.save(files, RUN, first)
    assert not files.checkpoint.exists()


def test_a_checkpoint_without_a_digest_is_of_an_older_version_and_read(
    images: Images, fp32: Compute, files: RunFiles
) -> None:
    trained(images, fp32, 7, files=files)
    content = read_saved(files.checkpoint)
    del content[saved.DIGEST]
    torch.save(content, files.checkpoint)
    second = training(images, fp32)
    checkpoint.load(files, RUN, second)
    assert second.iteration == 7
