"""What a run needs in memory, before it starts."""

from __future__ import annotations

from resrepro.config.recipe import Recipe
from resrepro.errors import UserError
from resrepro.models.complexity import Complexity
from resrepro.runtime.device import Compute

WEIGHT_BYTES = 4 * 4  # fp32 weight, gradient, momentum, and the copy that a recording restores from
RESERVE = 1.25  # workspaces, and what the allocator cannot use: an allowance
CONTEXT_BYTES = 512 * 2**20  # libraries, kernels


def needed_bytes(
    counts: Complexity, recipe: Recipe, compute: Compute, *, activation_checkpointing: bool, num_processes: int = 1
) -> int:
    """Peak memory of training without its dataset, estimated from the activations kept for the gradient.

    Of one process, where several share each mini-batch.
    """
    activations = counts.num_activations_checkpointed if activation_checkpointing else counts.num_activations
    element = 2 if compute.precision == "bf16" else 4
    kept = recipe.batch_size // num_processes * activations * element + WEIGHT_BYTES * counts.num_parameters
    return round(RESERVE * kept) + CONTEXT_BYTES


def plan(needs: list[tuple[int, int]], free: int | None, jobs: int | None, auto: int) -> tuple[int, bool]:
    """How many runs at once, and whether their activations are computed twice to fit.

    Args:
        needs: of each run, in bytes: as it is, and with activation checkpointing.
        free: bytes; None where the system does not say.
        jobs: as asked for; None: as many of `auto` as fit without recomputing.

    Raises:
        UserError: `jobs` does not fit; says how many would. A single run is always tried, for this is an estimate.
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
