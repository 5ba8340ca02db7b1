"""A checkpoint of an older version goes on to the results of that version."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from resrepro import results
from resrepro.config.recipe import Recipe
from resrepro.config.run import Run
from resrepro.models import build as build_whole
from resrepro.models.kernels import build, fused
from resrepro.models.saved import read_saved
from resrepro.runtime.device import choose
from resrepro.training import session
from resrepro.training.runner import Runner
from support.recipes import tiny_recipe
from support.reporters import Silent

GOLDEN = Path(__file__).parents[1] / "golden"
RUN = Run(dataset="folder:photos", name="resnet8", arch="resnet8", recipe=tiny_recipe(), seed=0, label="resnet8")


def first_stage(arch: str, *, num_classes: int, seed: int, recipe: Recipe) -> nn.Module:
    """A net whose checkpoint is small enough to be committed: the first stage, and the linear layer."""
    net = build_whole(arch, num_classes=num_classes, seed=seed, recipe=recipe)
    net.layer2 = net.layer3 = nn.Identity()
    net.fc = nn.Linear(16, num_classes)
    return net


def draw_photos() -> None:
    draw = np.random.RandomState(0)  # its numbers stay the same in every version of numpy
    for part, number in (("train", 12), ("test", 5)):
        for label in ("a", "b"):
            folder = Path("photos") / part / label
            folder.mkdir(parents=True)
            for i in range(number):
                Image.fromarray(draw.randint(0, 256, (8, 6, 3)).astype(np.uint8)).save(folder / f"{i}.png")


def test_it_ends_as_the_version_that_wrote_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Curve rows and final weights are those that commit cf94b79 reached: from iteration 5, over both drops, to 12.

    They are the same to the bit with the torch version and the CPU instructions of the golden file. Others may round
    differently, so there they agree to 1e-5.
    """
    golden: dict[str, Any] = json.loads((GOLDEN / "resnet8-older.json").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(session, "build", first_stage)
    monkeypatch.setattr(fused, "_fused", False)
    monkeypatch.setattr(build, "load", lambda: "this test needs torch's own operations, which are on every machine")
    draw_photos()
    files = results.run_files(Path("results"), RUN)
    files.folder.mkdir(parents=True)
    shutil.copy(GOLDEN / "resnet8-older.pt", files.checkpoint)
    trainer = Runner(
        results_dir=Path("results"), data_dir=Path("data"), compute=choose("cpu", "fp32"), reporter=Silent()
    )
    assert trainer.run_all([RUN]) == []
    rows = [point.model_dump(exclude={"elapsed_s"}, exclude_none=True) for point in results.read_points(files)]
    weights = read_saved(files.checkpoint)["engine"]["model"]
    norms = {name: tensor.double().norm().item() for name, tensor in weights.items()}
    assert [row["iteration"] for row in rows] == [5, 10, 12]
    assert rows == [pytest.approx(row, rel=1e-5) for row in golden["rows"]]
    assert norms == pytest.approx(golden["norms"], rel=1e-5)
    arithmetic = hashlib.sha256(f"{torch.__version__} {build.cpu_flags()}".encode()).hexdigest()[:16]
    if arithmetic == golden["arithmetic"]:
        assert rows == golden["rows"]
        whole = b"".join(tensor.numpy().tobytes() for tensor in weights.values())
        assert hashlib.sha256(whole).hexdigest() == golden["weights_sha256"]
