"""List where this reproduction differs from the paper, or makes a choice that it leaves open.

The list is the only source of docs/differences.md and of the report's table.
"""

from __future__ import annotations

from dataclasses import dataclass

from resrepro.results.tables import Table


@dataclass(frozen=True, kw_only=True)
class Departure:
    """Say how one point is done, in Markdown.

    Args:
        point: what is done differently, or left open by the paper.
        paper: what the paper says about it.
        here: what this reproduction does.
        other_way: the switch, run or option for the alternative; empty if there is none.
    """

    point: str
    paper: str
    here: str
    other_way: str = ""


DEPARTURES = (
    Departure(
        point="BN batch",
        paper='CIFAR-10: "two GPUs", so 64 images on each, as He et al. (2016, arXiv 1603.05027) say of their nets; '
        "ImageNet: not said; the author's README: 32 on each of 8 GPUs",
        here="the whole mini-batch of 128; ImageNet: 8 parts of 32",
        other_way="`bn_devices`",
    ),
    Departure(
        point="BN's constants",
        paper="not said",
        here="eps 1e-5; moving averages give a new mini-batch the weight 0.1",
    ),
    Departure(
        point="weight decay",
        paper="on which parameters is not said; Goyal et al. (2017), with one of the authors: not on BN's; "
        "fb.resnet.torch's README, by others: on the weights of convolutions",
        here="on the weights of convolutions and fc",
        other_way='`decay = "all"`, as in the preset `cifar-decay-all`; `"convolutions"`: only on their weights',
    ),
    Departure(
        point="momentum at a drop of the rate",
        paper="not said; the author's README: Caffe's `v = mv + lr g, w -= v`",
        here="PyTorch's `v = mv + g, w -= lr v`",
        other_way='`momentum_form = "caffe"`',
    ),
    Departure(
        point="CIFAR training images",
        paper="the schedule was chosen on a 45k/5k split",
        here="all 50k",
        other_way="`train_images = 45000`: the first 45k, in the order of the files",
    ),
    Departure(
        point="BN statistics of the test",
        paper="not said; the author's README: averages over many training images, not moving averages",
        here="averages over the next 100 training mini-batches, at each curve point and at the end; in a shortened "
        "schedule over 10 or more",
        other_way="moving averages: every run records this error, too",
    ),
    Departure(
        point="bottleneck's stride 2",
        paper="not said; only the first 1x1 gives Table 1's multiply-adds",
        here="in the first 1x1",
        other_way="`resnet50-3x3stride`",
    ),
    Departure(
        point="when ImageNet's rate is divided",
        paper='"when the error plateaus"; all four nets of Fig. 4 drop at 15e4 and 30e4',
        here="at 15e4 and 30e4",
        other_way="`plateau`, `lr_drop_iters`",
    ),
    Departure(
        point="training error of the curves",
        paper="not said",
        here="mean over all training mini-batches since the last point (augmented, BN in training mode)",
        other_way="without augmentation, BN in inference mode: every run records it at its end",
    ),
    Departure(
        point="max pooling's border",
        paper="not said",
        here="padding 1, as in torchvision's nets",
    ),
    Departure(
        point="resizing of images",
        paper="not said",
        here="bilinear, antialiased",
        other_way="`resrepro data prepare` first resizes training images above 480 pixels to 480 with Lanczos, and "
        "stores them as JPEG of quality 95; `images` in `run.json` then differs",
    ),
    Departure(
        point="ImageNet's per-pixel mean",
        paper='"per-pixel mean"',
        here="mean of the training images' center crops",
    ),
    Departure(
        point="per-pixel mean at sizes other than the crop's",
        paper="not said",
        here="bilinearly resized",
    ),
    Departure(
        point="multi-scale test",
        paper='"fully-convolutional form as in [41, 13]", "average the scores"',
        here="scores before the softmax are averaged over all positions (global average pooling of the whole map), the "
        "softmax over mirror images and scales, as in VGG [41]",
    ),
    Departure(
        point="10-crop's mirror images",
        paper="not said",
        here="the five crops are mirrored; torchvision crops the mirrored image, whose center crop is one pixel "
        "away if the margin is odd",
    ),
    Departure(
        point="precision",
        paper="not said; Caffe computes in fp32",
        here="`auto`: bf16 if the device computes in it, with fp32 weights, BN statistics and loss",
        other_way="`--precision fp32`",
    ),
    Departure(
        point="end of an epoch",
        paper="not said",
        here="the last mini-batch goes on with images of the next epoch, so each has 128",
    ),
    Departure(
        point="end of the warm-up of 110 layers",
        paper='"until the training error is below 80 %"',
        here="checked every 100 iterations, on their mean error; the iteration at which the warm-up ends is recorded",
        other_way="`warmup`",
    ),
    Departure(
        point="three times the iterations (footnote 3)",
        paper='"more training iterations (3x)"; compared with which net is not said',
        here="the deeper plain net with three times the iterations, against the shallower one with the usual number",
        other_way="three times the iterations for both: the figure of `plain-longer`",
    ),
    Departure(
        point="1202 layers",
        paper='"as described above"',
        here="with the 110 layers' warm-up",
    ),
    Departure(
        point="option A's zero channels",
        paper="not said",
        here="half before and half after the other channels",
    ),
    Departure(
        point="initialization",
        paper='"as in [13]" (He et al. 2015), which leaves open fan_in or fan_out, and the fc layer',
        here="convolutions: normal, fan_out; fc layer: normal with a standard deviation of 0.01 (Goyal et al. 2017, on "
        "ImageNet), bias zero",
        other_way="`init`, `fc_init`",
    ),
    Departure(
        point="padding of CIFAR-10's images",
        paper='"4 pixels are padded on each side"',
        here="with zeros, after the mean is subtracted",
    ),
)

EVERYTHING_ELSE = (
    "Everything else is as in Sec. 3.4 (ImageNet) and Sec. 4.2 (CIFAR-10) of the paper. For CIFAR-10: mini-batches of "
    "128; SGD with momentum 0.9, without Nesterov, and weight decay 1e-4; a learning rate of 0.1, divided by 10 at 32k "
    "and 48k of 64k iterations; the per-pixel mean of the training images is subtracted, without division by a "
    "standard deviation; 4 pixels of padding on each side, random crops and flips for training; the single view for "
    "testing."
)
OUT_OF_SCOPE = "Detection and localization (Tables 7 to 14, appendices A to C) are out of scope."


def departures_table() -> Table:
    """Return the list as a table, one row per point."""
    return Table(
        title="Where the paper does not say, or we differ",
        columns=("point", "the paper", "here", "alternative here"),
        rows=tuple((d.point, d.paper, d.here, d.other_way) for d in DEPARTURES),
        notes=("If a run's recipe differs in other points, too, its row in the table of runs says so.",),
    )
