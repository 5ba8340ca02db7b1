"""List where this reproduction differs from the paper, or the paper is silent: for docs/differences.md and the report.

The list is the only source of both.
"""

from __future__ import annotations

from dataclasses import dataclass

from resrepro.results.tables import Table


@dataclass(frozen=True, kw_only=True)
class Departure:
    """Say how one point is done, in Markdown.

    Args:
        point: what is done differently, or left open by the paper.
        paper: what the paper says of it.
        here: what this reproduction does.
        other_way: the switch, run or option that does it otherwise; empty if there is none.
    """

    point: str
    paper: str
    here: str
    other_way: str = ""


DEPARTURES = (
    Departure(
        point="BN batch",
        paper="two GPUs: 64 images at a time",
        here="the whole mini-batch of 128; ImageNet: 8 parts of 32, as on the paper's 8 GPUs",
        other_way="`bn_devices = 2`",
    ),
    Departure(
        point="BN's constants",
        paper="not said",
        here="eps 1e-5; moving averages take a tenth of each mini-batch's",
    ),
    Departure(
        point="weight decay",
        paper="not said on what",
        here="on all parameters",
        other_way='`decay = "weights"`: of convolutions and fc',
    ),
    Departure(
        point="momentum at a drop of the rate",
        paper="Caffe's `v = mv + lr g, w -= v`",
        here="PyTorch's `v = mv + g, w -= lr v`",
        other_way='`momentum_form = "caffe"`',
    ),
    Departure(
        point="CIFAR training images",
        paper="45k of a 45k/5k split for the choice of the schedule",
        here="all 50k",
        other_way="`train_images = 45000`: the first in the files' order",
    ),
    Departure(
        point="BN statistics in the end",
        paper="a plain average",
        here="moving averages",
        other_way="recorded by every run, beside the other error",
    ),
    Departure(
        point="bottleneck's stride 2",
        paper="in the first 1x1",
        here="the same",
        other_way="`resnet50-3x3stride`",
    ),
    Departure(
        point="when ImageNet's rate is divided",
        paper="where the error plateaus",
        here="where the training error has no new low (by 0.1 points) in 30,000 iterations, at the latest at 15e4, "
        "30e4, 45e4; recorded",
        other_way="`plateau`, `lr_drop_iters`",
    ),
    Departure(
        point="training error of the curves",
        paper="not said",
        here="of the mini-batches as trained on (augmented, BN in training mode), all since the last point",
        other_way="without augmentation, BN in inference mode: recorded by every run at its end",
    ),
    Departure(
        point="max pooling's border",
        paper="not said",
        here="padding 1, as torchvision's nets",
    ),
    Departure(
        point="resizing of images",
        paper="not said",
        here="bilinear, antialiased",
        other_way="after `resrepro data prepare`, training images above 480 pixels first once to 480 by Lanczos, as "
        "JPEG of quality 95: `images` in `run.json` differs",
    ),
    Departure(
        point="ImageNet's per-pixel mean",
        paper='"per-pixel mean"',
        here="of the training images' center crops",
    ),
    Departure(
        point="mean image at other sizes than the crop's",
        paper="not said",
        here="bilinearly resized",
    ),
    Departure(
        point="multi-scale test",
        paper='"fully-convolutional form as in [41, 13]", "average the scores"',
        here="scores before the softmax averaged over all positions (global average pooling of the whole map), softmax "
        "averaged over mirrors and scales, as in VGG [41]",
    ),
    Departure(
        point="10-crop's mirrors",
        paper="not said",
        here="of the five crops; torchvision crops the mirrored image, half a pixel off where the rest is odd",
    ),
    Departure(
        point="precision",
        paper="fp32",
        here="`auto`: bf16 where the device computes in it, with fp32 weights, BN statistics and loss",
        other_way="`--precision fp32`",
    ),
    Departure(
        point="end of an epoch",
        paper="not said",
        here="mini-batches run on into the next epoch, so each has 128 images",
    ),
    Departure(
        point="warm-up gate of the 110 layers",
        paper='"until the training error is below 80 %"',
        here="measured over the last 100 iterations, every 100; the iteration it opened at is recorded",
        other_way="`warmup`",
    ),
    Departure(
        point="1202 layers",
        paper='"as described above"',
        here="with the 110 layers' warm-up",
    ),
    Departure(
        point="option A's zero channels",
        paper="not said",
        here="half on each side",
    ),
    Departure(
        point="fc layer's initialization",
        paper="not said",
        here="PyTorch's default; convolutions: He, normal, fan_out",
    ),
)

EVERYTHING_ELSE = (
    "Everything else is as in Sec. 3.4 (ImageNet) and Sec. 4.2 (CIFAR-10) of the paper. For CIFAR-10: mini-batches of "
    "128; SGD with momentum 0.9, without Nesterov, and weight decay 1e-4; a learning rate of 0.1, divided by 10 at 32k "
    "and 48k of 64k iterations; the per-pixel mean of the training images subtracted, and no division by a standard "
    "deviation; 4 zeros on each side, 9 x 9 crops and flips for training, the single view for testing."
)


def departures_table() -> Table:
    """Return the list as a table, a row a point."""
    return Table(
        title="Where the paper is silent, or we differ",
        columns=("point", "the paper", "here", "the other way"),
        rows=tuple((d.point, d.paper, d.here, d.other_way) for d in DEPARTURES),
        notes=("Where a run's recipe differs further, its row in the table of runs says so.",),
    )
