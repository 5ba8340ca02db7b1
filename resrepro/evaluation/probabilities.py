"""Class probabilities under a test protocol, and the errors they make (Sec. 3.4).

All protocols are one formula: the mean of the softmax over the views of an image. In multi-scale testing a view is the
whole image. Our nets end with a global average pooling and a linear layer, so the net on an image of any size is its
fully-convolutional form: the fc layer at each position of the last feature map, and the scores averaged over the
positions. As in [41] (VGG, Sec. 3.2) that average is of the scores before the softmax, and what is averaged over
mirrors and scales is the softmax.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from resrepro.errors import UserError
from resrepro.evaluation.preprocessing import Normalization
from resrepro.models.stage import mode
from resrepro.results.records import Errors
from resrepro.runtime.device import Compute


@torch.no_grad()
def probabilities(
    net: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    normalized: Normalization,
    *,
    mirrored: bool,
    num_images: int,
    num_classes: int,
    compute: Compute,
) -> Tensor:
    """Average the softmax over all views of each image, BN in inference mode: (num_images, num_classes) float32.

    Args:
        batches: numbers (N,), each once, and views (N, K, 3, h, w) uint8; every image in at least one of them.
        mirrored: each view counts together with its mirror.
    """
    sums = torch.zeros(num_images, num_classes, device=compute.device)
    num_views = torch.zeros(num_images, 1, device=compute.device)

    def softmax(x: Tensor) -> Tensor:
        with compute.autocast():
            logits: Tensor = net(x)
        return logits.float().softmax(1)

    with mode(net, training=False):
        for numbers, views in batches:
            rows = numbers.to(compute.device)
            x = normalized(views.to(compute.device).flatten(0, 1))  # (N, K, 3, h, w) -> (N K, 3, h, w)
            scores = softmax(x)
            if mirrored:
                scores = (scores + softmax(x.flip(3))) / 2
            sums[rows] += scores.view(len(rows), -1, num_classes).sum(1)
            num_views[rows] += views.shape[1]
    return sums / num_views


def errors(probabilities: Tensor, labels: Tensor) -> Errors:
    """Return top-1 and top-5 error and mean cross-entropy of (N, num_classes) probabilities for labels (N,).

    Of equally probable classes the one with the smaller number is ranked first. Fewer than 5 classes have no top-5.

    Raises:
        UserError: a probability is NaN.
    """
    if not probabilities.isfinite().all():
        raise UserError("the net's scores are not finite; are these its weights, or did its training diverge?")
    num_classes = probabilities.shape[1]
    labels = labels.to(probabilities.device)[:, None]
    own = probabilities.gather(1, labels)
    smaller = torch.arange(num_classes, device=probabilities.device) < labels
    rank = ((probabilities > own) | ((probabilities == own) & smaller)).sum(1)

    def error_pct(top: int) -> float:
        return 100 * (rank >= top).double().mean().item()

    smallest = torch.finfo(own.dtype).tiny
    return Errors(
        top1_pct=error_pct(1),
        top5_pct=error_pct(5) if num_classes >= 5 else None,
        loss=-own.clamp(min=smallest).double().log().mean().item(),
    )
