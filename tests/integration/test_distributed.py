"""Data-parallel training: gloo processes on the CPU beside one process with virtual devices.

Most tests start the processes themselves, with torchrun's variables, from a server that has imported torch already.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.distributed import TCPStore

from resrepro import results
from resrepro.data.dataset import Split
from resrepro.data.in_memory.images import Images
from resrepro.errors import UserError
from resrepro.evaluation.single_view import SingleView
from resrepro.results import csv_rows
from resrepro.results.paths import RunFiles
from resrepro.results.records import ConstructedComparison, CurvePoint, LayerNorms, Response, RunRecord
from resrepro.runtime.device import Compute
from resrepro.runtime.distributed import World
from support.processes import WITH_FEW_IMAGES, few_images
from support.recipes import tiny_recipe
from support.trainings import training

# Four images a part of BN. Rounding turns some ReLUs on or off; the rate is so small that this does not grow.
RECIPE = (
    "total_iters = {total}\nbatch_size = 16\nlr = 0.0001\nlr_drop_iters = [8, 12]\ncurve_every_iters = 5\n"
    "crop_padding = 2\nbn_devices = {devices}\n"
)
PLAIN = (
    'title = "a test"\ndataset = "shapes"\n[recipe]\npreset = "cifar-decay-all"\n'
    + RECIPE
    + '[[run]]\narch = "resnet8"\n'
)
PHOTOS = "crop_padding = 0\nscale_crop = {{ size = 32, shorter_side = [36, 44] }}"  # braces doubled for `format`
DEEPER = PLAIN.replace("resnet8", "plain8") + '[[run]]\narch = "plain14"\nname = "deeper"\nstart_from = "plain8"\n'

Fault = Callable[[int], None]  # is told the rank, in the process


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return write(tmp_path)


def write(folder: Path, text: str = PLAIN, total: int = 16, devices: int = 4) -> Path:
    path = folder / "mine.toml"
    path.write_text(text.format(total=total, devices=devices))
    return path


def words(toml: Path, results_dir: Path, *more: str) -> list[str]:
    where = ["--results-dir", str(results_dir), "--device", "cpu", "--precision", "fp32"]
    return ["run", str(toml), *where, *more]


def files_of(results_dir: Path, name: str = "resnet8") -> RunFiles:
    return RunFiles(folder=results_dir / "shapes" / name / "seed0")


def _process(environment: dict[str, str], output: Path, arguments: list[str], fault: Fault | None) -> None:
    from resrepro.__main__ import main

    os.environ.update(environment)
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    few_images()
    if fault:
        fault(int(environment.get("RANK", 0)))
    sys.argv = ["resrepro", *arguments]
    main()


class Started:
    """The processes of a command."""

    def __init__(self, size: int, arguments: list[str], fault: Fault | None = None) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["resrepro.training.runner", "resrepro.cli.experiments", "pytest"])
        self.output = Path(arguments[1]).with_name("output")
        self.output.mkdir(exist_ok=True)
        self.store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)  # torchrun keeps one, too
        self.processes: list[BaseProcess] = []
        for rank in range(size):
            environment = {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
            if size > 1:
                named = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size}
                environment |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(self.store.port)}
                environment |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
                environment |= {name: str(number) for name, number in named.items()}
            process = context.Process(target=_process, args=(environment, self._file(rank), arguments, fault))
            process.start()
            self.processes.append(process)

    def _file(self, rank: int) -> Path:
        return self.output / f"{rank}.txt"

    def wait(self) -> tuple[list[int | None], str]:
        """The exit codes, and what they said."""
        for process in self.processes:
            process.join(timeout=120)
        texts = [self._file(rank).read_text() for rank in range(len(self.processes))]
        assert all(process.exitcode is not None for process in self.processes), texts
        return [process.exitcode for process in self.processes], "".join(texts)

    def at(self, files: RunFiles) -> None:
        """Waits for the first curve point and its checkpoint."""
        until = time.monotonic() + 120
        while not files.checkpoint.exists():
            assert time.monotonic() < until and all(p.is_alive() for p in self.processes), self.wait()
            time.sleep(0.02)


def run(size: int, arguments: list[str], fault: Fault | None = None) -> str:
    codes, said = Started(size, arguments, fault).wait()
    assert codes == [0] * size, said
    assert "Warning" not in said
    return said


def error(size: int, arguments: list[str], fault: Fault | None = None) -> str:
    """The one line of a command that fails, in whichever process."""
    codes, said = Started(size, arguments, fault).wait()
    assert codes == [1] * size, said
    return the_line(said)


def the_line(said: str) -> str:
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in said, said
    return lines[0].removeprefix("error: ")


def record(files: RunFiles) -> RunRecord:
    found = results.read_record(files)
    assert found is not None
    return found


def state(files: RunFiles) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(files.checkpoint, weights_only=True)
    return loaded


def points(files: RunFiles) -> list[CurvePoint]:
    return [point.model_copy(update={"elapsed_s": 0.0}) for point in results.read_points(files)]


def assert_near(a: RunFiles, b: RunFiles) -> None:
    """Everything that a run leaves, to the rounding of fp32 sums in another order, over 16 iterations.

    The bounds are three to ten times what a change of all initial weights by 1e-7 made in 22 runs of one process.
    """
    for one, other in zip(points(a), points(b), strict=True):
        assert one.train_error_pct == other.train_error_pct
        assert one.test_error_pct == pytest.approx(other.test_error_pct, abs=1)  # one of 100 images
        assert (one.iteration, one.lr) == (other.iteration, other.lr)
        assert (one.train_loss, one.test_loss) == pytest.approx((other.train_loss, other.test_loss), rel=1e-4)
    states = state(a)["engine"], state(b)["engine"]
    for key, value in states[0]["model"].items():
        relative = 1e-3 if "running" in key else 0
        torch.testing.assert_close(value, states[1]["model"][key], rtol=relative, atol=2e-6)
    for key, value in states[0]["momentum"].items():
        assert (value - states[1]["momentum"][key]).norm() <= 0.02 * value.norm(), key
    assert all(states[0][part].keys() == states[1][part].keys() for part in ("model", "momentum"))
    torch.testing.assert_close(states[0]["totals"], states[1]["totals"], rtol=1e-5, atol=0)
    for path, row, relative in (("responses", Response, 1e-4), ("gradients", LayerNorms, 5e-3)):
        tables = [csv_rows.read_rows(getattr(files, path), row) for files in (a, b)]
        assert_rows_near(*tables, relative)
    ends = [
        (r.final_test_error_bn_reestimated_pct, r.final_train_error_clean_pct, r.best_test_error_pct)
        for r in (record(a), record(b))
    ]
    assert ends[0] == pytest.approx(ends[1], abs=1)


def assert_rows_near(a: list[Any], b: list[Any], relative: float) -> None:
    for one, other in zip(a, b, strict=True):
        for key, value in one.model_dump().items():
            same = pytest.approx(value, rel=relative, abs=1e-5) if isinstance(value, float) else value
            assert getattr(other, key) == same


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> RunFiles:
    """One process, whose BN sees four virtual devices."""
    folder = tmp_path_factory.mktemp("alone")
    run(1, words(write(folder), folder))
    return files_of(folder)


def write_photos(root: Path) -> None:
    """20 training and 7 test JPEGs of several sizes, two classes."""
    draw = np.random.default_rng(0)
    for part, count in (("train", 20), ("val", 7)):
        for i in range(count):
            path = root / part / ("bright" if i % 2 else "dark") / f"{i:02}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = draw.integers(0, 120, (40 + i, 50, 3)) + 120 * (i % 2)
            Image.fromarray(pixels.astype(np.uint8)).save(path)


def _three_at_once(_rank: int) -> None:
    from resrepro.data.image_files import pipeline

    pipeline.AT_ONCE = {"cpu": 3}


@pytest.mark.slow
def test_two_processes_share_image_files(tmp_path: Path) -> None:
    """Seven test images in parts that do not divide them, and a mean that one process of the machine computes."""
    write_photos(tmp_path / "photos")
    text = PLAIN.replace('"shapes"', f'"folder:{tmp_path / "photos"}"').replace("crop_padding = 2", PHOTOS)
    for size in (1, 2):
        toml = write(tmp_path, text, devices=2)
        where = ("--data-dir", str(tmp_path / f"data{size}"), "--workers", "2")
        run(size, words(toml, tmp_path / str(size), *where), _three_at_once)
    one, two = (RunFiles(folder=tmp_path / str(n) / "folder-photos" / "resnet8" / "seed0") for n in (1, 2))
    for a, b in zip(points(one), points(two), strict=True):
        assert (a.train_error_pct, a.test_error_pct) == (b.train_error_pct, b.test_error_pct)
        assert (a.train_loss, a.test_loss) == pytest.approx((b.train_loss, b.test_loss), rel=1e-4)
    assert_rows_near(*(csv_rows.read_rows(files.responses, Response) for files in (one, two)), 1e-3)


def torchrun(size: int, arguments: list[str], *options: str) -> subprocess.Popen[str]:
    script = Path(arguments[1]).with_name("few.py")
    script.write_text(WITH_FEW_IMAGES)
    launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={size}", "--standalone", *options]
    return subprocess.Popen(
        [*launcher, str(script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize("size", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_processes_of_torchrun_give_what_one_gives(size: int, toml: Path, tmp_path: Path, alone: RunFiles) -> None:
    process = torchrun(size, words(toml, tmp_path))
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 0, said
    assert said.count("finished in") == said.count("next: ") == 1  # the first speaks
    assert f"1 run(s) on {size} x " in said and "Warning" not in said
    assert_near(files_of(tmp_path), alone)
    assert (record(files_of(tmp_path)).num_processes, record(alone).num_processes) == (size, 1)


def _slow_steps(_rank: int) -> None:
    from resrepro.training.step import Engine

    step = Engine.step

    def slowly(*arguments: Any) -> None:
        time.sleep(0.05)
        step(*arguments)

    Engine.step = slowly  # type: ignore[method-assign]


def test_a_signal_to_one_stops_all_at_one_iteration_and_another_number_goes_on(
    toml: Path, tmp_path: Path, alone: RunFiles
) -> None:
    files, started = files_of(tmp_path), Started(2, words(toml, tmp_path), _slow_steps)
    started.at(files)
    os.kill(started.processes[1].pid or 0, signal.SIGTERM)
    codes, said = started.wait()
    assert codes == [128 + signal.SIGTERM] * 2, said
    assert said.count("stopped at iteration 10, checkpoint written; the same command goes on from there") == 1
    assert state(files)["iteration"] == 10
    assert "resumed at iteration 10" in run(4, words(toml, tmp_path))
    assert_near(files, alone)
    assert [(shard.from_iter, shard.num_processes) for shard in record(files).earlier] == [(0, 2)]


@pytest.mark.slow
def test_one_that_is_killed_ends_all_and_the_same_command_gives_the_same_bits(toml: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(2, words(toml, whole))
    started = Started(2, words(toml, cut), _slow_steps)
    started.at(files_of(cut))
    started.processes[1].kill()
    codes, said = started.wait()
    assert codes == [1, -signal.SIGKILL]
    assert the_line(said).startswith("another process of this training ended; the checkpoints are intact")
    assert state(files_of(cut))["iteration"] == 5 and not files_of(cut).record.exists()
    assert "resumed at iteration 5" in run(2, words(toml, cut))
    assert points(files_of(cut)) == points(files_of(whole)) and record(files_of(cut)).earlier == ()
    ends = [state(files_of(folder))["engine"]["model"] for folder in (whole, cut)]
    assert all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())


@pytest.mark.slow
def test_torchrun_restarts_by_itself(tmp_path: Path) -> None:
    toml, files = write(tmp_path, total=600), files_of(tmp_path)
    process = torchrun(2, words(toml, tmp_path), "--max-restarts=1")
    until = time.monotonic() + 60
    while not files.checkpoint.exists() and time.monotonic() < until:
        time.sleep(0.1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [int(child) for child in children if b"few.py" in Path(f"/proc/{child}/cmdline").read_bytes()]
    os.kill(workers[-1], signal.SIGKILL)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said
    assert re.search(r"another process of this training ended(.|\n)*resumed at iteration \d+", said)
    assert record(files).status == "finished" and len(points(files)) == 120


def _corrupt_image(rank: int) -> None:
    from resrepro.data.in_memory.pipeline import CropSampler

    load = CropSampler.load

    def failing(self: CropSampler, iteration: int) -> None:
        if rank == 1 and iteration == 3 and len(self._offsets) < self.batch_size:
            raise UserError("image 7 is corrupt")
        load(self, iteration)

    CropSampler.load = failing  # type: ignore[method-assign]


def test_an_error_of_one_ends_all_and_is_said_once(toml: Path, tmp_path: Path) -> None:
    assert error(2, words(toml, tmp_path), _corrupt_image) == "image 7 is corrupt"


def _own_disk(folder: Path, rank: int) -> None:
    (folder / str(rank)).mkdir()
    os.chdir(folder / str(rank))


@pytest.mark.slow
def test_a_net_made_deeper_is_the_same_and_the_others_need_no_files(tmp_path: Path) -> None:
    outputs = []
    for size in (1, 2):
        folder = tmp_path / str(size)
        folder.mkdir()
        run(size, words(write(folder, DEEPER, devices=2), Path("results")), partial(_own_disk, folder))
        outputs.append(files_of(folder / "0" / "results", "deeper"))
    assert list((tmp_path / "2" / "1").iterdir()) == []
    assert_near(*outputs)
    tables = [csv_rows.read_rows(files.identity, ConstructedComparison) for files in outputs]
    for one, other in zip(*tables, strict=True):
        assert (one.part, one.num_images) == (other.part, other.num_images)
        assert (one.shallower_error_pct, one.error_pct) == (one.error_pct, other.error_pct)
        assert max(one.largest_difference, other.largest_difference) < 1e-5 * one.largest_output


def test_a_loss_that_is_not_finite_ends_the_run_for_all(tmp_path: Path) -> None:
    toml = write(tmp_path)
    toml.write_text(toml.read_text().replace("lr = 0.0001", "lr = 1e30"))
    assert "diverged at iteration 5" in run(2, words(toml, tmp_path))
    assert json.loads(files_of(tmp_path).record.read_text())["diverged_iter"] == 5


@pytest.mark.parametrize(
    ("size", "devices", "more", "line"),
    [
        (3, 4, [], "shapes/resnet8/seed0: 3 processes do not divide the mini-batch of 16 images; start torchrun with a "
         "number that does"),
        (2, 4, ["--jobs", "2"], "--jobs 2: the processes of torchrun train one run at a time; leave out --jobs"),
        (2, 4, ["--device", "cuda:1"], "--device cuda:1: under torchrun process N takes GPU N; expected auto, cuda or "
         "cpu"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(size: int, devices: int, more: list[str], line: str, tmp_path: Path) -> None:
    assert error(size, words(write(tmp_path, devices=devices), tmp_path / "results", *more)) == line
    assert not (tmp_path / "results").exists()


def test_parts_that_bn_sees_alone_are_a_multiple_of_the_processes() -> None:
    World(size=2).check(16, 4, "a run")
    with pytest.raises(UserError, match=r"^a run: 2 processes do not divide the parts .*, bn_devices = 1; start torch"):
        World(size=2).check(16, 1, "a run")


def test_torchruns_variables_say_who_takes_part(monkeypatch: pytest.MonkeyPatch) -> None:
    assert World.from_environment() == World() == World(rank=0, size=1, local_rank=0, local_size=1)
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1"), ("LOCAL_WORLD_SIZE", "4")):
        monkeypatch.setenv(name, value)
    world = World.from_environment()
    assert world == World(rank=5, size=8, local_rank=1, local_size=4) and not world.is_rank_zero
    assert world.device("cpu") == "cpu" and World().device("cuda:3") == "cuda:3"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert world.device("auto") == world.device("cuda") == "cuda:1"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match=r"^--nproc-per-node 4: 2 CUDA device\(s\) here; take as many processes"):
        world.device("auto")


class Apart(World):
    """One of several processes, that never hears of the others."""

    def all_reduce_sum(self, tensor: torch.Tensor) -> None: ...


@pytest.mark.parametrize("size", [2, 3, 8])
@pytest.mark.parametrize("at_once", [None, 2, 5])
def test_each_image_is_measured_by_one_process(size: int, at_once: int | None, images: Images, fp32: Compute) -> None:
    engine = training(images, fp32).engine
    part = engine.batches.test_split
    loads: list[int] = []
    bound = Split(num_images=13, inputs=part.inputs, load=lambda start, _end: loads.append(start), at_once=at_once)
    shards = [SingleView(engine.net, bound, fp32, Apart(rank=rank, size=size)) for rank in range(size)]
    found = [shard.measure() for shard in shards]
    whole = SingleView(engine.net, part, fp32).measure()
    assert sum(m.error_pct for m in found) == pytest.approx(whole.error_pct)
    assert sum(m.loss for m in found) == pytest.approx(whole.loss, rel=1e-5)
    assert sum(shard.num_here for shard in shards) == 13
    assert len({shard.num_chunks for shard in shards}) == 1  # else one would wait for another in vain
    assert all(first < 13 and first % len(shards[0].offsets) == 0 for first in loads)


def test_the_shares_of_a_mini_batch_are_the_mini_batch(images: Images, fp32: Compute) -> None:
    batches, recipe = training(images, fp32).engine.batches, tiny_recipe()
    streams = [batches.views(recipe, 0, World(rank=rank, size=4).shard(8)) for rank in range(4)]
    whole = batches.views(recipe, 0)
    for iteration in (0, 3, 11):  # within an epoch, across two
        for stream in (whole, *streams):
            stream.load(iteration)
        (x, y), *parts = (batches.train(s.at(torch.tensor(iteration))) for s in (whole, *streams))
        assert torch.equal(torch.cat([part[0] for part in parts]), x)
        assert torch.equal(torch.cat([part[1] for part in parts]), y)
