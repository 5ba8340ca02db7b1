"""What a verdict on a claim is, and how it is put in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from resrepro.config.experiment import Claim
from resrepro.report.rule import INTERVAL
from resrepro.report.statistics import Estimate, RankTest, p_words

ONE_RUN = " (one run)"
Status = Literal[
    "supported", "consistent (one run)", "inconclusive", "contradicted", "inconsistent (one run)", "not run"
]
STATUSES: tuple[Status, ...] = get_args(Status)
# What a status is called where data or schedule are not the paper's: there nothing supports a claim of the paper.
ELSEWHERE: dict[Status, str] = {
    "supported": "holds here",
    "consistent (one run)": "holds here (one run)",
    "inconclusive": "inconclusive",
    "contradicted": "does not hold here",
    "inconsistent (one run)": "does not hold here (one run)",
    "not run": "not run",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Say whether a claim holds, and what decides.

    Args:
        detail: what was measured; of a claim that is not run, what is missing.
        values: what each run's declared seeds measured, by the run's name.
        further: likewise of stored seeds that are not declared, so that do not count.
        estimate: what is compared: a mean, a difference, a slope per step, or ours minus the paper's.
        ranks: of an order of the layers' responses, the test in place of an estimate.
        p_value: corrected over the claims that were judged together; None if no noise is known, for then there is no
            test.
        noise: the noise that decides, in words.
    """

    claim: Claim
    status: Status
    detail: str
    values: dict[str, tuple[float, ...]] = field(default_factory=dict)
    further: dict[str, tuple[float, ...]] = field(default_factory=dict)
    estimate: Estimate | None = None
    ranks: RankTest | None = None
    p_value: float | None = None
    noise: str = ""

    @property
    def test(self) -> str:
        """Return what decided, in words."""
        if self.status == "not run":
            return ""
        if self.claim.is_counted:
            return "counted from the net"
        if self.p_value is None:
            return "one run, and its noise is not known"
        p = f"corrected {p_words(self.p_value)}"
        if self.ranks is not None:
            return f"{self.ranks.words}; {p}"
        sign = "+" if self.claim.is_order or self.claim.published else ""
        low, high = (f"{end:{sign}.2f}" for end in self.interval or ())
        return f"{_compared(self.claim)} {low} to {high}{_bound(self.claim)}; {p}; {self.noise}{self._two_seeds}"

    @property
    def _two_seeds(self) -> str:
        """Say why nothing is decided where a run has two seeds: one degree of freedom makes any interval wide."""
        two = [name for name, found in self.values.items() if len(found) == 2]
        if self.status != "inconclusive" or not two:
            return ""
        return f"; n = 2 for {' and '.join(two)}: too few to know the spread between seeds; a third seed may decide"

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return the interval of what is compared: of a number of the paper, where ours minus it may lie."""
        if self.estimate is None:
            return None
        low, high = self.estimate.interval()
        middle = self.estimate.value if self.claim.published else 0.0
        return low - middle, high - middle

    @property
    def one_run(self) -> bool:
        """Tell whether a run of the claim has a single seed."""
        return min(map(len, self.values.values()), default=0) == 1


def _compared(claim: Claim) -> str:
    if claim.published:
        return "prediction interval of the difference"
    if not claim.is_order:
        return f"{INTERVAL} of the {'median' if claim.column == 'lesion_rise_pct' else 'mean'}"
    return f"{INTERVAL} of the {'slope per step' if claim.between else 'difference'}"


def _bound(claim: Claim) -> str:
    """Return how large an order claims a difference to be, where it claims more than its sign."""
    least, most = claim.min_difference_pct, claim.max_difference_pct
    words = [f"more than {least:g}"] if least > 0 else []
    words += [] if most is None else [f"less than {most:g}"]
    return f" (claimed: {' and '.join(words)})" if claim.is_order and words else ""
