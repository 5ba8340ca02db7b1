"""Start a net with another run's final weights, made deeper by identity layers (Sec. 1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from resrepro import results
from resrepro.config.run import Run
from resrepro.data.dataset import Split
from resrepro.errors import UserError
from resrepro.evaluation import constructed
from resrepro.evaluation.trained_nets import find, read_net
from resrepro.models.weights import net_of
from resrepro.results import csv_rows
from resrepro.results.records import ConstructedComparison
from resrepro.training.loop import Training
from resrepro.training.step import Engine


def construct(
    run: Run,
    source: Run,
    results_dir: Path,
    training: Training,
    check_stop: Callable[[], None],
    check_place: Callable[[], None],
) -> None:
    """Give the net the weights of `source` and identity layers, and write to `identity.csv` how alike the nets are.

    After the start of the training the net stays as it is, and only a missing file is written again.

    Args:
        check_stop: is called between mini-batches, and may raise to stop.
        check_place: is called before the file is written, and may raise to prevent it.

    Raises:
        UserError: `source` is not finished, or its weights are missing or damaged.
    """
    files, fresh = results.run_files(results_dir, run), training.iteration == training.first_iter
    engine = training.engine
    if engine.world.on_rank_zero(files.identity.exists) and not fresh:
        return
    shallow = _trained(run, source, results_dir, engine)
    deep = engine.net if fresh else deepcopy(engine.net)

    def mini_batches() -> Iterator[Tensor]:
        for i in range(constructed.NUM_BATCHES):
            check_stop()
            yield engine.mini_batch(training.first_iter + i)[0]

    batches = engine.batches
    splits: dict[constructed.Name, Split] = {"train": batches.train_split, "test": batches.test_split}
    comparisons = constructed.construct(deep, shallow, mini_batches(), splits, engine.compute, check_stop)
    engine.world.broadcast([*deep.parameters(), *deep.buffers()])  # processes may have rounded differently
    if engine.world.is_rank_zero:
        check_place()
        csv_rows.write_rows(files.identity, ConstructedComparison, comparisons)


def _trained(run: Run, source: Run, results_dir: Path, engine: Engine) -> nn.Module:
    """Return the net of `source` with its final weights, on the engine's device."""
    fc: Any = engine.net.get_submodule("fc")
    num_classes: int = fc.out_features
    state = engine.world.on_rank_zero(lambda: _read(run, source, results_dir, num_classes))
    net = net_of(state, results.run_files(results_dir, source).folder, source.arch, num_classes)
    return engine.compute.move(net)


def _read(run: Run, source: Run, results_dir: Path, num_classes: int) -> dict[str, Tensor]:
    record = results.read_finished(results_dir, source)
    if record is None or record.status == "diverged":
        raise UserError(f"{run}: starts from {source}, which {'diverged' if record else 'is not finished'}")
    (trained,) = find([results.run_files(results_dir, source).folder])
    return read_net(trained, num_classes)[0].state_dict()
