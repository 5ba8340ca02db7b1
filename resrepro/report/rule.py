"""State the rule that decides claims, as the report's page shows it."""

from __future__ import annotations

from resrepro.report.statistics import ALPHA, CONFIDENCE

INTERVAL = f"{100 * CONFIDENCE:.0f} % interval"
RULE = (
    f"A claim is supported if the {INTERVAL} of what it compares lies where the claim says, contradicted "
    "if the interval lies wholly elsewhere, and inconclusive otherwise. The interval of a mean, or of a difference of "
    "two, is that of Student's t with Welch's degrees of freedom, for variances that need not be equal (Welch 1947, "
    "Biometrika 34). p is the two-sided p-value of the nearest bound that the claim states; for an order it is zero.",
    "An order of several nets is judged by one number, chosen before the runs: the slope of a linear trend over their "
    "order, in points a step. A single step may go the other way; the column of differences shows the least one.",
    "A number of the paper is compared by a prediction interval: ours may differ from it by as much as two such sets "
    "of runs would. It takes the paper's spread where that is published (ResNet-110: ± 0.16 over five runs), and ours "
    "otherwise; a number without a spread counts as one run. The claim is supported if ours lies inside, which does "
    "not prove that the two are equal. A difference of two of the paper's numbers is compared in the same way, with "
    "the variances of both. Multiply-adds are counted on the nets: they have no noise, and are compared as they are.",
    "Where a run of a claim has one seed, nothing is tested between seeds. The claim is then called consistent or "
    "inconsistent (one run), or inconclusive, by noise that is known beforehand: the spread between seeds, pooled over "
    "the stored runs of the same net with the same number of iterations that have two seeds or more; where there are "
    "none, the binomial noise of an error p on N images, √(p(1−p)/N), with the N test images, or for a training error "
    "the N images of the mini-batches that it is the mean of, at most all training images. It does not contain what "
    "another start changes. Without either the claim is inconclusive.",
    "The order of layer responses (Fig. 7) is judged by ranks over the layers, not by the order of the means: of two "
    "nets of one depth layer by layer (Wilcoxon 1945, Biometrics Bulletin 1), of nets of several depths by one trend "
    "test over all their layers (Jonckheere 1954, Biometrika 41). The layers of a net are no independent sample, so p "
    "describes these runs, not other seeds. Their level is the paper's if the interval of the response over that of "
    "Fig. 7, its mean over the layers, lies within 0.80 and 1.25: the bounds of bioequivalence (Schuirmann 1987, "
    "Journal of Pharmacokinetics and Biopharmaceutics 15), chosen beforehand. With one seed its noise is the scatter "
    "over the layers.",
    "The binomial noise is also the least variance that an error may have, so that equal seeds do not make p zero. Two "
    "nets are tested on the same images, which makes the noise of their difference smaller than that: the rule is the "
    "stricter for it. Where both kept their predictions, McNemar's exact test of the images on which one alone is "
    "wrong stands beside it (McNemar 1947, Psychometrika 12); it decides nothing, for it is about two trained nets.",
    "All p-values of the paper's claims in this table are corrected together (Holm 1979, Scandinavian Journal of "
    f"Statistics 6): supported and contradicted need a corrected p below {ALPHA:g}. Of a comparison with a number of "
    "the paper contradicted alone needs it: outside the interval, and not so after the correction, is inconclusive. "
    "Our own claims are corrected among themselves. `resrepro run` corrects over the claims of its experiment alone.",
    "Only the seeds that the experiment declares count; further ones are shown. A seed that diverged has the error of "
    "chance: 90 % on CIFAR-10, 99.9 % on ImageNet. A claim is not judged where a declared seed is damaged, or where a "
    "finished one lacks what is measured. Errors are those of the last iteration, unless the claim names a window of "
    "the schedule: then they are the mean of the run's curve over it.",
)
