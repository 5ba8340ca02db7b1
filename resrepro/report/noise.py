"""Say how large the noise of what claims compare is known to be: from one run, and from the seeds that are stored."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from pathlib import Path
from statistics import variance

from resrepro import results
from resrepro.config.datasets import SIZES
from resrepro.config.experiment import Claim
from resrepro.errors import UserError
from resrepro.report.measures import MEASURES, TINY, lesions, response_ratios, window_of
from resrepro.report.seeds import Seed
from resrepro.report.statistics import Noise, binomial_noise, pooled_noise
from resrepro.results.analyses import read_responses
from resrepro.results.paths import RunFiles
from resrepro.results.records import NORMS_BATCHES, RunRecord


def known_noise(seed: Seed, claim: Claim, value: float) -> Noise | None:
    """Return the noise that one run tells of a value: that of the images, or of the layers; None where there is none.

    Args:
        value: the mean over the seeds, which gives an error its binomial noise.
    """
    record, sizes = seed.record, SIZES.get(seed.record.dataset)
    if claim.column == "response_level":
        ratios = response_ratios(seed.files, record)
        scatter = variance(ratios) if len(ratios) > 1 else 0.0
        return Noise(variance=max(scatter, TINY) / len(ratios), words=f"scatter over the {len(ratios)} layers")
    if claim.column in ("response_least", "signal_least"):
        num_images = NORMS_BATCHES * int(record.recipe["batch_size"])
        if claim.column == "response_least":
            num_images = read_responses(seed.files, record.arch)[0].num_images
        words = f"noise of a standard deviation over {num_images:,} images"
        return Noise(variance=max(value, TINY) ** 2 / (2 * num_images), words=words)
    if claim.column == "lesion_rise_pct":
        whole, _ = lesions(seed.files)
        assert whole is not None  # it has a value
        return binomial_noise(whole.error_pct + value, whole.num_images)
    if sizes is None or not claim.column.endswith("_pct"):
        return None
    num_images = min(_num_training_images(record, claim), record.recipe.get("train_images") or sizes.num_train)
    return binomial_noise(value, num_images if claim.column == "train_error_pct" else sizes.num_test)


def _num_training_images(record: RunRecord, claim: Claim) -> int:
    """Return how many images a training error is of: those of the mini-batches since the last curve point.

    Or those of a window of the schedule.
    """
    total, every = int(record.recipe["total_iters"]), int(record.recipe["curve_every_iters"])
    if claim.window:
        first, end = window_of(record, claim.window)
        num_iters = int(end - first)
    else:
        num_iters = min(total, total % every or every)
    return num_iters * int(record.recipe["batch_size"])


class SeedSpreads:
    """Finds the spread between seeds of a net under a schedule, over every stored run that has two seeds or more."""

    def __init__(self, results_dir: Path) -> None:
        self._results_dir = results_dir

    def of(self, record: RunRecord, claim: Claim) -> Noise | None:
        """Return the spread of what the claim compares; runs that diverged or lack it are left out."""
        samples = []
        for seeds in self._groups.get(_net_and_schedule(record), {}).values():
            try:
                values = [MEASURES[claim.column].of(files, one, claim) for files, one in seeds]
            except (UserError, OSError):  # named where that run is shown
                continue
            known = [value for value in values if value is not None]
            if len(known) > 1:
                samples.append(known)
        return pooled_noise(samples)

    @cached_property
    def _groups(self) -> dict[tuple[object, ...], dict[str, list[tuple[RunFiles, RunRecord]]]]:
        """The seeds of each finished run, by net and schedule and by the run's name."""
        groups = defaultdict[tuple[object, ...], dict[str, list[tuple[RunFiles, RunRecord]]]](lambda: defaultdict(list))
        for files in results.stored_runs(self._results_dir):
            try:
                record = results.read_record(files)
            except (UserError, OSError):
                continue
            if record is not None and record.status == "finished":
                groups[_net_and_schedule(record)][record.name].append((files, record))
        return groups


def _net_and_schedule(record: RunRecord) -> tuple[object, ...]:
    recipe = record.recipe
    schedule = (recipe.get("total_iters"), str(recipe.get("scale_crop")), record.schedule_scale)
    return record.dataset, record.arch, record.start_from, recipe.get("resize"), *schedule
