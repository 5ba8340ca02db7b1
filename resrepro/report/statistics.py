"""Compare means over few seeds: intervals, p-values, and their correction over several claims."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

ALPHA = 0.05
CONFIDENCE = 1 - ALPHA  # of intervals


def p_words(p: float) -> str:
    """Return `p = 0.012`, or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Hold the variance of one seed's value, and the degrees of freedom it is known with (infinite: beforehand)."""

    variance: float
    degrees: float = math.inf
    words: str


def in_words(noises: Sequence[Noise]) -> str:
    """Return `spread between its seeds (±0.10, ±0.13)`: what each noise is, and its standard deviations."""
    sizes: dict[str, list[str]] = {}
    for noise in noises:
        sizes.setdefault(noise.words, []).append(f"±{math.sqrt(noise.variance):.2f}")
    return ", ".join(f"{words} ({', '.join(these)})" for words, these in sizes.items())


@dataclass(frozen=True, kw_only=True)
class Mean:
    """Hold a mean over seeds, and the noise of one of them."""

    value: float
    num_seeds: int
    noise: Noise


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Hold an estimated number, its standard error and the degrees of freedom of that."""

    value: float
    error: float
    degrees: float

    def interval(self) -> tuple[float, float]:
        """Return the ends of the two-sided interval of Student's t at the level CONFIDENCE."""
        from scipy.special import stdtrit  # where it is needed: it takes 0.2 s to import

        half = self.error * float(stdtrit(self.degrees, (1 + CONFIDENCE) / 2))
        return self.value - half, self.value + half

    def p_of(self, *bounds: float) -> float:
        """Return the two-sided p-value of the nearest bound; the interval at the level 1 - p ends there."""
        distance = min(abs(self.value - bound) for bound in bounds)
        return 2 * t_tail(distance / self.error, self.degrees)


def sample_noise(values: Sequence[float], least: Noise | None) -> Noise | None:
    """Return the spread of two seeds or more, with `least` as a floor; None where it is zero without a floor."""
    found = variance(values)
    if least is not None and found < least.variance:
        return Noise(variance=least.variance, degrees=len(values) - 1, words=f"at least {least.words}")
    return Noise(variance=found, degrees=len(values) - 1, words="spread between its seeds") if found else None


def binomial_noise(error_pct: float, num_images: int) -> Noise:
    """Return the noise of an error measured on so many images.

    One image wrong and one right are added (Laplace), so that an error of 0 % has noise too.
    """
    p = (error_pct / 100 * num_images + 1) / (num_images + 2)
    found = 1e4 * p * (1 - p) / num_images
    return Noise(variance=found, words=f"binomial noise of {num_images:,} images")


def pooled_noise(samples: Sequence[Sequence[float]]) -> Noise | None:
    """Return the spread within samples of two seeds or more each, pooled; None without one, or where it is zero."""
    squares = sum(variance(sample) * (len(sample) - 1) for sample in samples)
    degrees = sum(len(sample) - 1 for sample in samples)
    if not squares:
        return None
    found = squares / degrees
    return Noise(variance=found, degrees=degrees, words=f"spread between {degrees + len(samples)} stored seeds")


def trend(means: Sequence[Mean]) -> Estimate:
    """Return the slope per step of a linear trend over the means, the first the highest (Welch 1947).

    Of two means it is their difference; of one, the mean itself.
    """
    if len(means) == 1:
        return _weighted(means, [1.0])
    center = (len(means) - 1) / 2
    steps = [center - i for i in range(len(means))]
    return _weighted(means, [step / sum(step * step for step in steps) for step in steps])


def _weighted(means: Sequence[Mean], weights: Sequence[float]) -> Estimate:
    """Return a weighted sum of means whose variances need not be equal, with Welch's degrees of freedom."""
    pairs = list(zip(means, weights, strict=True))
    parts = [(weight**2 * mean.noise.variance / mean.num_seeds, mean.noise.degrees) for mean, weight in pairs]
    return _estimate(sum(weight * mean.value for mean, weight in pairs), parts)


def _estimate(value: float, parts: Sequence[tuple[float, float]]) -> Estimate:
    """Return an estimate whose variance is the sum of these parts, each with its degrees of freedom."""
    total = sum(part for part, _ in parts)
    unknown = sum(part**2 / degrees for part, degrees in parts)
    return Estimate(value=value, error=math.sqrt(total), degrees=total**2 / unknown if unknown else math.inf)


def predicted(ours: Sequence[float], published: float, num_published: int, noise: Noise) -> Estimate:
    """Return our mean minus the published one, with the error of a prediction from the published seeds."""
    error = math.sqrt(noise.variance * (1 / len(ours) + 1 / num_published))
    return Estimate(value=fmean(ours) - published, error=error, degrees=noise.degrees)


def minus(first: Estimate, second: Estimate) -> Estimate:
    """Return the difference of two estimates whose variances need not be equal, with Welch's degrees of freedom."""
    parts = [(estimate.error**2, estimate.degrees) for estimate in (first, second)]
    return _estimate(first.value - second.value, parts)


@dataclass(frozen=True, kw_only=True)
class RankTest:
    """Hold a test of an order of samples by ranks.

    Args:
        effect: from -1 to 1; above zero where the order is as asked: the rank-biserial correlation, or Kendall's tau.
        p_value: two-sided.
        words: which test it is, of how many values, and the effect.
    """

    effect: float
    p_value: float
    words: str


def rank_test(samples: Sequence[Sequence[float]]) -> RankTest:
    """Test whether the values of each net's layers lie above those of the next net's, by ranks alone.

    Two samples of one length are pairs: Wilcoxon's signed-rank test (1945). Others are compared as a whole, by the
    trend test of Terpstra (1952) and Jonckheere (1954), which is Kendall's tau between place and value.
    """
    from scipy import stats

    if len(samples) == 2 and len(samples[0]) == len(samples[1]):
        apart = [a - b for a, b in zip(*samples, strict=True) if a != b]
        ranks = stats.rankdata([abs(x) for x in apart])
        effect = sum(math.copysign(rank, x) for rank, x in zip(ranks, apart, strict=True)) / (sum(ranks) or 1)
        p = float(stats.wilcoxon(apart).pvalue) if apart else 1.0
        num_above = sum(x > 0 for x in apart)
        words = f"Wilcoxon's signed-rank test of {len(samples[0])} layers, the first above in {num_above}"
        return RankTest(effect=float(effect), p_value=p, words=words)
    places = [-place for place, sample in enumerate(samples) for _ in sample]
    found = stats.kendalltau(places, [value for sample in samples for value in sample])
    effect, p = (0.0, 1.0) if math.isnan(found.statistic) else (float(found.statistic), float(found.pvalue))
    counts = " and ".join(str(len(sample)) for sample in samples)
    words = f"Jonckheere and Terpstra's trend test of {counts} layers, tau = {effect:+.2f}"
    return RankTest(effect=effect, p_value=p, words=words)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979), in the order given."""
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def t_tail(t: float, degrees: float) -> float:
    """Return P(T > t) of Student's t; of the normal distribution where the degrees are infinite."""
    from scipy.special import stdtr

    return float(stdtr(degrees, -t))
