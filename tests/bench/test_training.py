"""That bench measures what it says; never how fast."""

from __future__ import annotations

import json
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest
import torch

from resrepro.bench import training as bench
from resrepro.bench.loops import RECIPE, Job
from resrepro.bench.processes import time_in_turns
from resrepro.bench.roofline import MachineRates
from resrepro.data.in_memory.images import Images
from resrepro.errors import UserError
from resrepro.models.complexity import complexity
from resrepro.runtime.device import Compute
from support.processes import error, run

CPU = Compute(device=torch.device("cpu"), precision="bf16")


@pytest.mark.slow
@pytest.mark.parametrize("archs", [["resnet8"], ["plain8", "resnet8"]])
def test_bench_times_both_loops_and_keeps_other_rows(archs: list[str], tmp_path: Path) -> None:
    """Real processes, one short round."""
    words = ("--dataset", "shapes", "--rounds", 1, "--seconds", 0.01, "--jobs", "1", "--device", "cpu")
    where = ("--results-dir", tmp_path)
    for arch in archs:
        printed = run("bench", arch, *words, *where)
    (file,) = (tmp_path / "bench").glob("*.json")
    assert str(file) in printed
    rows = json.loads(file.read_text())["rows"]
    assert [(r["architecture"], r["loop"]) for r in rows] == [
        (arch, loop) for arch in archs for loop in ("standard", "resrepro")
    ]
    for row in rows:
        assert row["images_per_s"] == pytest.approx(1e3 * RECIPE.batch_size / row["ms_per_iteration"])
        assert row["start_s"] > 0 and row["peak_mib"] > 100
    standard, ours = rows[-2:]
    assert ours["whole_run_s"] > RECIPE.total_iters * ours["ms_per_iteration"] / 1e3  # evaluations on top
    assert ours["times_standard"] == pytest.approx(ours["images_per_s"] / standard["images_per_s"])


def test_times_on_another_dataset_stay_and_older_ones_are_of_cifar(tmp_path: Path) -> None:
    path, rates = tmp_path / "cpu.json", MachineRates(matmul_flops=1e12, copy_bytes=1e11)
    path.write_text(json.dumps({"device": "cpu", "rows": [{"architecture": "resnet8", "loop": "old"}]}))
    for dataset in ("shapes", "cifar10"):
        bench._write(path, [{"dataset": dataset, "architecture": "resnet8", "loop": "new"}], rates, CPU)
    rows = json.loads(path.read_text())["rows"]
    assert [(row["dataset"], row["loop"]) for row in rows] == [("shapes", "new"), ("cifar10", "new")]


def test_floors_are_operations_and_bytes_over_their_rates() -> None:
    counts = complexity("resnet20")
    operations_s, bytes_s = MachineRates(matmul_flops=1e12, copy_bytes=1e11).roofline_s(counts, 128, "bf16")
    assert operations_s == pytest.approx(3 * 2 * 40_551_040 * 128 / 1e12, rel=0.02)
    assert bytes_s == pytest.approx(7 * counts.num_activations * 128 * 2 / 1e11)


def test_runs_at_once_that_memory_or_cores_do_not_hold_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    counts = complexity("resnet20")
    monkeypatch.setattr(Compute, "free_bytes", lambda _: 2**40)
    assert bench._possible((1, 2, 4, 8), counts, CPU) == [1, 2, 4]
    monkeypatch.setattr(Compute, "free_bytes", lambda _: 2**20)
    assert bench._possible((1, 2, 4, 8), counts, CPU) == [1]


@pytest.mark.parametrize(
    ("words", "message"), [(("--jobs", "0"), "--jobs 0"), (("--jobs", "x"), "--jobs x"), ((), "resnet21")]
)
def test_bad_input_is_one_line(words: tuple[str, ...], message: str) -> None:
    assert message in error("bench", "resnet21", *words)


def test_images_of_several_sizes_are_timed_by_the_other_bench() -> None:
    assert "differ in size; take: resrepro bench imagenet" in error("bench", "resnet20", "--dataset", "imagenette")


def test_images_that_do_not_fit_into_shared_memory_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: object) -> None:
        raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")

    x, y = torch.zeros(2, 8, 8, 3, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)
    images = Images(train_images=x, train_labels=y, test_images=x, test_labels=y, num_classes=2)
    job = Job(loop="standard", arch="plain8", runs=1, images=images, device="cpu", precision="fp32", seconds=0.01)
    monkeypatch.setattr(SpawnProcess, "start", start)
    with pytest.raises(UserError, match=r"No space left on device \(28\); make /dev/shm larger"):
        time_in_turns([job], 1, print)
