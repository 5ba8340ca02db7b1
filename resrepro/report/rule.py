"""State the rule that decides claims, as the report's page shows it."""

from __future__ import annotations

from resrepro.report.statistics import ALPHA, CONFIDENCE

INTERVAL = f"{100 * CONFIDENCE:.0f} % interval"
RULE = (
    f"A claim is supported if the whole {INTERVAL} of the compared value is where the claim says, contradicted if the "
    "whole interval is elsewhere, and inconclusive otherwise. The interval of a mean, or of a difference of two "
    "means, is that of Student's t with Welch's degrees of freedom, for variances that need not be equal (Welch 1947, "
    "Biometrika 34). p is the two-sided p-value of the nearest bound that the claim states; for an order, this bound "
    "is zero.",
    "An order of several nets is judged by one number, chosen before the runs: the slope of a linear trend over their "
    "order, in points per step. A single step may have the other sign; the column of differences shows the smallest "
    "step.",
    "A number of the paper is compared with a prediction interval: ours may differ from it by as much as two such "
    "sets of runs would differ. The interval uses the paper's spread where it is published (ResNet-110: ± 0.16 over "
    "five runs), and ours otherwise; a number without a spread counts as one run. The claim is supported if ours lies "
    "inside, which does not prove that the two are equal. A difference of two of the paper's numbers is compared in "
    "the same way, with the variances of both. Multiply-adds are counted from the nets. They have no noise, and are "
    "compared directly.",
    "If a run of a claim has only one seed, nothing is tested between seeds. The claim is then called consistent or "
    "inconsistent (one run), or inconclusive, by noise that is known beforehand. This is the spread between seeds, "
    "pooled over the stored runs of the same net with the same number of iterations that have two seeds or more. If "
    "there are none, it is the binomial noise of an error p on N images, √(p(1−p)/N). N is the number of test images "
    "or, for a training error, of the images in its mini-batches, at most all training images. This noise does not "
    "include the effect of another seed. If neither is known, the claim is inconclusive.",
    "The order of layer responses (Fig. 7) is judged by ranks over the layers, not by the order of the means: for two "
    "nets of one depth, layer by layer (Wilcoxon 1945, Biometrics Bulletin 1); for nets of several depths, by one "
    "trend test over all their layers (Jonckheere 1954, Biometrika 41). The layers of a net are not an independent "
    "sample, so p describes these runs, not other seeds. The level of the responses is the ratio to those of Fig. 7, "
    "averaged over the layers. It agrees with the paper's if its interval lies between 0.80 and 1.25: the bounds of "
    "bioequivalence (Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15), chosen beforehand. With "
    "one seed, its noise is the scatter over the layers.",
    "The binomial noise is also the smallest variance that an error may have, so that equal seeds do not make p zero. "
    "Two nets are tested on the same images, which makes the noise of their difference smaller than this, so the rule "
    "is stricter than necessary. If both runs kept their predictions, the table also gives McNemar's exact test on "
    "the images that only one net gets wrong (McNemar 1947, Psychometrika 12). It decides nothing, because it is "
    "about two trained nets.",
    "All p-values of the paper's claims in this table are corrected together (Holm 1979, Scandinavian Journal of "
    f"Statistics 6): supported and contradicted need a corrected p below {ALPHA:g}. For a comparison with a number of "
    "the paper, only contradicted needs it: a value outside the interval that fails this correction is inconclusive. "
    "Our own claims are corrected among themselves. `resrepro run` corrects only over the claims of its experiment.",
    "Only the seeds that the experiment declares count; further seeds are shown. A seed that diverged counts with the "
    "error of chance: 90 % on CIFAR-10, 99.9 % on ImageNet. A claim is not judged if a declared seed is damaged, or "
    "if a finished one lacks what is measured. Errors are those of the last iteration, unless the claim names a "
    "window of the schedule: then they are the mean of the run's curve over this window.",
)
