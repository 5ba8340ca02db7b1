"""Estimate the memory that runs need, before they start."""

from __future__ import annotations

from resrepro.config.recipe import Recipe
from resrepro.errors import UserError
from resrepro.evaluation.single_view import EVALUATION_BATCH, EVALUATION_BYTES, bytes_alive
from resrepro.models.complexity import Complexity
from resrepro.runtime.device import Compute

WEIGHT_BYTES = 4 * 4  # fp32 weight, gradient, momentum, and the copy that the capture of the step restores from
RESERVE = 1.25  # workspaces, and what the allocator cannot use: an allowance
CONTEXT_BYTES = 512 * 2**20  # libraries, kernels


def needed_bytes(
    counts: Complexity, recipe: Recipe, compute: Compute, *, activation_checkpointing: bool, num_processes: int = 1
) -> int:
    """Estimate the peak memory of training, bytes, from the activations kept for the gradient; without the dataset.

    Args:
        num_processes: processes that share each mini-batch; the memory is that of one.
    """
    activations = counts.num_activations_checkpointed if activation_checkpointing else counts.num_activations
    element = 2 if compute.precision == "bf16" else 4
    trained = recipe.batch_size // num_processes * activations * element
    evaluated = EVALUATION_BATCH[compute.device.type] * bytes_alive(counts.num_activations_largest)
    needed = max(trained, min(evaluated, EVALUATION_BYTES)) + WEIGHT_BYTES * counts.num_parameters
    return round(RESERVE * needed) + CONTEXT_BYTES


def plan(needs: list[tuple[int, int]], free: int | None, jobs: int | None, auto: int) -> tuple[int, bool]:
    """Choose how many runs train at once, and whether activation checkpointing is needed to fit them.

    Args:
        needs: bytes that each run needs: as it is, and with activation checkpointing.
        free: free bytes; None where the system does not say.
        jobs: runs at once, as asked for; None: as many of `auto` as fit without activation checkpointing.
        auto: the largest number of runs at once where none is asked for.

    Returns:
        The number of runs at once, and whether they use activation checkpointing. A single run is always tried, because
        the need is an estimate.

    Raises:
        UserError: `jobs` runs do not fit; says how many do.
    """
    most = min(auto if jobs is None else jobs, max(1, len(needs)))

    def fits(number: int, *, activation_checkpointing: bool) -> bool:
        largest = sorted((need[activation_checkpointing] for need in needs), reverse=True)[:number]
        return free is None or sum(largest) <= free

    if jobs is None:
        most = next((n for n in range(most, 1, -1) if fits(n, activation_checkpointing=False)), 1)
    if fits(most, activation_checkpointing=False):
        return most, False
    if most > 1 and not fits(most, activation_checkpointing=True):
        possible = next((n for n in range(most - 1, 1, -1) if fits(n, activation_checkpointing=True)), 1)
        largest = max(need[True] for need in needs)
        raise UserError(
            f"--jobs {jobs}: the largest run needs about {largest / 2**30:.1f} GiB, {(free or 0) / 2**30:.1f} GiB are "
            f"free for all; --jobs {possible} fits"
        )
    return most, True


def check_shares(needs: list[tuple[int, int]], free: int | None, num_sharing: int) -> None:
    """Check that each of the processes that share a machine can hold its largest run.

    Args:
        needs: as in `plan`.
        free: the share of one process, bytes; None where the system does not say.

    Raises:
        UserError: it cannot, and so the system would kill one of them; says how many processes can.
    """
    largest = max((need[True] for need in needs), default=0)
    if free is not None and largest > free:
        possible = max(1, free * num_sharing // largest)
        raise UserError(
            f"--processes {num_sharing}: the largest run needs about {largest / 2**30:.1f} GiB, and each process has "
            f"{free / 2**30:.1f} GiB; --processes {possible} fits"
        )
