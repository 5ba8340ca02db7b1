"""Compute what a finished run recorded once more, from its weights, and compare."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import nn

from resrepro.config.run import Run
from resrepro.data.dataset import DataOptions, Dataset, InputPipeline
from resrepro.data.loading import is_there, load_for, way
from resrepro.errors import UserError
from resrepro.evaluation.batch_norm import next_inputs, reestimated
from resrepro.evaluation.responses import Responses
from resrepro.evaluation.single_view import SingleView
from resrepro.evaluation.trained_nets import TrainedNet, read_net
from resrepro.models.kernels import fused
from resrepro.results import csv_rows
from resrepro.results.paths import RunFiles
from resrepro.results.records import Kernels, Prediction, Response, RunRecord
from resrepro.results.same_run import recorded_run
from resrepro.results.stored_checks import Findings, check_stored
from resrepro.runtime import device as devices
from resrepro.runtime import machine
from resrepro.runtime.device import Compute, device_errors

MAX_DIFFERENCE_PCT = 5.0  # of the predictions, and of a response, between two arithmetics


@dataclass(kw_only=True)
class Verifier:
    """Verifies finished runs, and opens each dataset once.

    Args:
        device, precision: as on the command line; `auto` is that of the run, where this machine has it, else the CPU
            and fp32.
        responses: whether the training set is measured as well: responses and the clean training error.
        skip_corrupt: whether training images that cannot be decoded are left out, as such a run did.
    """

    data_dir: Path
    device: str = "auto"
    precision: str = "auto"
    responses: bool = False
    skip_corrupt: bool = False
    _opening: threading.Lock = field(default_factory=threading.Lock)
    _datasets: dict[Hashable, Dataset] = field(default_factory=dict)

    def verify(self, runs: dict[RunFiles, RunRecord]) -> Iterator[tuple[RunFiles, Findings]]:
        """Check the stored files of finished runs; and the nets, where their weights and their datasets are there.

        On a CPU as many runs go on at once as the cores allow, for a run is measured with its own number of threads.

        Raises:
            UserError: the options ask for what this machine lacks.
        """
        # all grouped before one is measured: choosing a precision sets it for the whole process
        groups: dict[tuple[str, Kernels, int], list[tuple[RunFiles, RunRecord]]] = {}
        for files, record in runs.items():
            arithmetic = self._compute(record).device.type, record.kernels, record.num_threads
            groups.setdefault(arithmetic, []).append((files, record))
        for (device, kernels, num_threads), group in sorted(groups.items()):
            with _arithmetic(device, kernels, num_threads) as kernels_here:
                num_jobs = max(1, machine.num_cores() // num_threads) if device == "cpu" else 1
                with ThreadPoolExecutor(num_jobs) as pool:
                    yield from pool.map(partial(self._verify, kernels_here), group)

    def _verify(self, kernels: Kernels, run: tuple[RunFiles, RunRecord]) -> tuple[RunFiles, Findings]:
        files, record = run
        found = check_stored(files, record)
        if record.status == "diverged":
            found.leave_out_net("the run diverged")
        elif not files.weights.exists():
            found.leave_out_net("no weights are stored")
        elif found.names(files.weights):
            found.leave_out_net("its weights are damaged")
        else:
            try:
                self._recompute(files, record, kernels, found)
            except (UserError, OSError) as error:
                found.differences.append(str(error))
                found.net_left_out = True
        return files, found

    def _recompute(self, files: RunFiles, record: RunRecord, kernels: Kernels, found: Findings) -> None:
        if not is_there(record.dataset, data_dir=self.data_dir):
            found.leave_out_net(f"there is no {record.dataset} in {self.data_dir}")
            return
        run, compute = recorded_run(record), self._compute(record)
        with self._opening:
            dataset = self._dataset(run, compute)
            pipeline = dataset.input_pipeline(run.recipe)
        if record.images is not None and pipeline.fingerprint != record.images:
            raise UserError(f"the training images of {run.dataset} are not those that the run was trained on")
        stored = TrainedNet(
            name=str(run), arch=run.arch, dataset=run.dataset, weights=files.weights, run=run, record=record
        )
        net, _ = read_net(stored, dataset.num_classes)
        with device_errors(compute, f"verify {run}"), compute.stream():
            net = compute.move(net)
            comparison = Comparison(record=record, found=found, elsewhere=_elsewhere(record, compute, kernels))
            comparison.test(net, pipeline, run, compute, _stored_predictions(files))
            if self.responses:
                comparison.train(net, pipeline, compute, csv_rows.read_rows(files.responses, Response))

    def _dataset(self, run: Run, compute: Compute) -> Dataset:
        key = run.dataset, way(run.recipe), str(compute.device)
        if key not in self._datasets:
            options = DataOptions(
                data_dir=self.data_dir, device=compute.device, num_workers=machine.num_cores(),
                skip_corrupt=self.skip_corrupt,
            )  # fmt: skip
            self._datasets[key] = load_for(run.recipe, run.dataset, options)
        return self._datasets[key]

    def _compute(self, record: RunRecord) -> Compute:
        """Return the record's device and precision, where this machine has them and no other is asked for."""
        on_cpu = record.device.endswith("(CPU)") or not torch.cuda.is_available()
        device = self.device if self.device != "auto" else "cpu" if on_cpu else "cuda"
        if self.precision != "auto":
            return devices.choose(device, self.precision)
        try:
            return devices.choose(device, record.precision)
        except UserError:
            return devices.choose(device, "fp32")


@dataclass(kw_only=True)
class Comparison:
    """Compares what is computed here with the record.

    Args:
        elsewhere: how the arithmetic of the record differs from that here; empty if it is the same, and then all must
            be equal to the digit.
    """

    record: RunRecord
    found: Findings
    elsewhere: str

    def test(
        self, net: nn.Module, pipeline: InputPipeline, run: Run, compute: Compute, stored: list[Prediction]
    ) -> None:
        """Compare test errors and predictions, with BN's moving averages and with averaged statistics."""
        if self.elsewhere:
            self.found.notes.append(f"rounded otherwise than when it was recorded ({self.elsewhere})")
        view = SingleView(net, pipeline.test_split, compute)
        error_pct = view.measure().error_pct
        labels = view.predictions()[1].tolist()
        if stored and [p.label for p in stored] != labels:
            self.found.differences.append(f"the test images of {run.dataset} have other labels than predictions.csv")
            return
        self._compare("test error", error_pct, self.record.final_test_error_pct, view, [p.moving for p in stored])
        with reestimated(net, next_inputs(pipeline, run, compute.device), compute):
            error_pct = view.measure().error_pct
        recorded_pct = self.record.final_test_error_bn_reestimated_pct
        self._compare("test error with averaged BN", error_pct, recorded_pct, view, [p.bn_averaged for p in stored])

    def _compare(
        self, what: str, error_pct: float, recorded_pct: float | None, view: SingleView, stored: list[int]
    ) -> None:
        num_images = view.images.num_images
        predicted = view.predictions()[0].tolist()
        num_others = sum(a != b for a, b in zip(predicted, stored, strict=True)) if stored else 0
        if not self.elsewhere:
            self.found.compare(f"{what} (%)", error_pct, recorded_pct)
            if num_others:
                self.found.differences.append(f"{what}: {num_others} of {num_images} predictions differ")
            return
        changed_pct = 100 * num_others / num_images if stored else _apart(error_pct, recorded_pct)
        line = f"{what} (%) {error_pct:.2f} here, {_two_digits(recorded_pct)} recorded"
        line += f", {num_others} of {num_images} predictions differ" if stored else ""
        (self.found.equal if changed_pct <= MAX_DIFFERENCE_PCT else self.found.differences).append(line)

    def train(self, net: nn.Module, pipeline: InputPipeline, compute: Compute, stored: list[Response]) -> None:
        """Compare the responses, and the error on the training set without augmentation."""
        view = SingleView(net, pipeline.train_split, compute)
        with Responses(net, view.num_here) as responses:
            error_pct = view.measure().error_pct
        rows, recorded_pct = responses.rows(), self.record.final_train_error_clean_pct
        pairs = list(zip(rows, stored, strict=False))
        if len(rows) != len(stored) or any((a.layer, a.name) != (b.layer, b.name) for a, b in pairs):
            self.found.differences.append(f"responses.csv: {len(stored)} rows, which are not those of the net's layers")
        largest_pct = max((100 * abs(a.std / b.std - 1) if b.std else 100.0 for a, b in pairs), default=0.0)
        if not self.elsewhere:
            self.found.compare("clean training error (%)", error_pct, recorded_pct)
            num_others = sum(a != b for a, b in pairs)
            what = f"{num_others} of {len(rows)} responses differ, by {largest_pct:.2g} % at most"
            (self.found.differences if num_others else self.found.equal).append(what)
            return
        line = f"clean training error (%) {_two_digits(error_pct)} here, {_two_digits(recorded_pct)} recorded"
        line += f"; responses differ by {largest_pct:.2g} % at most"
        others = max(largest_pct, _apart(error_pct, recorded_pct))
        (self.found.equal if others <= MAX_DIFFERENCE_PCT else self.found.differences).append(line)


def _two_digits(error_pct: float | None) -> str:
    return "none" if error_pct is None else f"{error_pct:.2f}"


def _apart(found: float, recorded: float | None) -> float:
    return 0.0 if recorded is None else abs(found - recorded)


def _stored_predictions(files: RunFiles) -> list[Prediction]:
    """Return what is stored; nothing where it is damaged, which is already among the differences."""
    try:
        return csv_rows.read_rows(files.predictions, Prediction)
    except UserError:
        return []


@contextmanager
def _arithmetic(device: str, kernels: Kernels, num_threads: int) -> Iterator[Kernels]:
    """Compute inside with so many threads on a CPU, and with these kernels if the device has them; yield those."""
    before = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(num_threads)
        kernels = "fused" if kernels == "fused" and fused.load_kernels() is None else "torch"
    if kernels != "fused":
        fused.use_torch()
    try:
        yield kernels
    finally:
        torch.set_num_threads(before)


def _elsewhere(record: RunRecord, compute: Compute, kernels: Kernels) -> str:
    """Say in what the arithmetic of the record differs from that here; nothing where it is the same."""
    pairs = {
        "device": (record.device, compute.name),
        "precision": (record.precision, compute.precision),
        "kernels": (record.kernels, kernels),
        "torch": (record.versions.get("torch"), str(torch.__version__)),
        "processes": (record.num_processes, 1),
    }
    return "; ".join(f"{name} {there}, here {here}" for name, (there, here) in pairs.items() if there != here)
