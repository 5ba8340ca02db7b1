"""Compare two trained nets image by image, from the predictions that their runs stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resrepro import results
from resrepro.errors import UserError
from resrepro.report.seeds import Seed
from resrepro.report.statistics import CONFIDENCE, p_words
from resrepro.results.analyses import read_predictions
from resrepro.results.paths import RunFiles
from resrepro.results.records import Prediction, RunRecord
from resrepro.results.tables import Table

BN_STATISTICS = {"moving": "moving averages", "bn_averaged": "averaged over mini-batches"}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Count the test images by which of two nets is wrong."""

    both_right: int
    first_alone_wrong: int
    second_alone_wrong: int
    both_wrong: int

    @property
    def num_images(self) -> int:
        """Return the number of test images."""
        return self.both_right + self.first_alone_wrong + self.second_alone_wrong + self.both_wrong

    @property
    def num_wrong(self) -> tuple[int, int]:
        """Return the number of wrong images of the first net, and of the second."""
        return self.both_wrong + self.first_alone_wrong, self.both_wrong + self.second_alone_wrong

    @property
    def p_value(self) -> float:
        """Return the two-sided p of McNemar's exact test: the images on which one is wrong alone are a fair coin's."""
        from scipy.stats import binomtest

        num_apart = self.first_alone_wrong + self.second_alone_wrong
        return float(binomtest(self.first_alone_wrong, num_apart).pvalue) if num_apart else 1.0


def compare(first: RunFiles, second: RunFiles) -> dict[str, Comparison]:
    """Compare two finished runs, with each kind of BN statistics: a key of BN_STATISTICS.

    Raises:
        UserError: one is not finished, has no predictions or damaged ones, or the two have other test images.
    """
    records = [_record(files) for files in (first, second)]
    if records[0].dataset != records[1].dataset:
        raise UserError(
            f"{second.folder}: tested on {records[1].dataset}, and {first.folder} on {records[0].dataset}; "
            "expected two runs on the same images"
        )
    ours, theirs = (_predictions(files, record) for files, record in zip((first, second), records, strict=True))
    if [p.label for p in ours] != [p.label for p in theirs]:
        raise UserError(
            f"{second.predictions}: {len(theirs)} images, whose classes are not those of the {len(ours)} of "
            f"{first.predictions}; expected two runs on the same images"
        )
    return {column: _count(ours, theirs, column) for column in BN_STATISTICS}


def image_by_image(runs: Sequence[Sequence[Seed]]) -> str:
    """Return McNemar's p as a part of a sentence, if these are two runs of a seed each that have predictions.

    The predictions are those of the test errors that are compared, so both runs must show the same BN statistics.
    """
    averaged = [seed.record.averages_bn for seeds in runs for seed in seeds]
    if [len(seeds) for seeds in runs] != [1, 1] or averaged[0] != averaged[1]:
        return ""
    column = "bn_averaged" if averaged[0] else "moving"
    try:
        found = compare(*(seeds[0].files for seeds in runs))
    except (UserError, OSError):  # named where that run is shown
        return ""
    return f"; image by image: McNemar's exact {p_words(found[column].p_value)}"


def _record(files: RunFiles) -> RunRecord:
    record = results.read_record(files)
    if record is None or record.status != "finished":
        state = "not finished" if record is None else f"diverged at iteration {record.diverged_iter}"
        raise UserError(f"{files.folder}: {state}; expected a finished run")
    return record


def _predictions(files: RunFiles, record: RunRecord) -> list[Prediction]:
    found = read_predictions(files)
    if not found:
        raise UserError(
            f"{files.predictions}: not there (finished by an older version); give the run's command again where its "
            "checkpoint is, or delete its folder and train it again"
        )
    results.check_files(files, record, files.predictions.name)
    return found


def _count(ours: Sequence[Prediction], theirs: Sequence[Prediction], column: str) -> Comparison:
    wrong = [(getattr(a, column) != a.label, getattr(b, column) != b.label) for a, b in zip(ours, theirs, strict=True)]
    return Comparison(
        both_right=wrong.count((False, False)),
        first_alone_wrong=wrong.count((True, False)),
        second_alone_wrong=wrong.count((False, True)),
        both_wrong=wrong.count((True, True)),
    )


def comparison_table(title: str, found: dict[str, Comparison]) -> Table:
    """Tabulate the errors with their intervals, the four counts, and p."""
    num_more = {column: c.first_alone_wrong - c.second_alone_wrong for column, c in found.items()}
    rows = {
        "error of the first (%)": [_error(c.num_wrong[0], c.num_images) for c in found.values()],
        "error of the second (%)": [_error(c.num_wrong[1], c.num_images) for c in found.values()],
        "first minus second": [f"{100 * num_more[column] / c.num_images:+.2f}" for column, c in found.items()],
        "images, both right": [str(c.both_right) for c in found.values()],
        "only the first wrong": [str(c.first_alone_wrong) for c in found.values()],
        "only the second wrong": [str(c.second_alone_wrong) for c in found.values()],
        "both wrong": [str(c.both_wrong) for c in found.values()],
        "McNemar's exact p": [p_words(c.p_value).removeprefix("p ").removeprefix("= ") for c in found.values()],
    }
    return Table(
        title=title,
        columns=("with BN's statistics", *(BN_STATISTICS[column] for column in found)),
        rows=tuple((name, *cells) for name, cells in rows.items()),
        notes=(
            f"errors: with {100 * CONFIDENCE:.0f} % intervals (Wilson 1927); p: two-sided, on the images that only one "
            "net gets wrong (McNemar 1947)",
            "p is about these two trained nets; another seed of either may differ",
        ),
    )


def _error(num_wrong: int, num_images: int) -> str:
    from scipy.stats import binomtest

    ends = binomtest(num_wrong, num_images).proportion_ci(CONFIDENCE, method="wilson")
    return f"{100 * num_wrong / num_images:.2f} ({100 * ends.low:.2f} to {100 * ends.high:.2f})"
