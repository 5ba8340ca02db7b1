"""Define the columns of what the laboratory writes beside a run, and read it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import ConfigDict

from resrepro.config.strict import StrictModel


class Lesion(StrictModel):
    """Holds one row of `lesions.csv`: a trained net with blocks removed or permuted (Veit et al. 2016).

    Args:
        kind: the net whole; without one block, each in turn; without several at random; with blocks permuted.
        draw: its number among those with as many blocks, from 0.
        blocks: removed, by their names, with spaces; none; or all of them in their new order.
        num_blocks: how many were removed, or how many pairs were swapped.
        kendall_tau: rank correlation of the order with the trained one; 1 where none was permuted.
        loss, error_pct: mean cross-entropy and top-1 error on the test images, single view, BN's moving averages.
        num_images: so many of them, evenly spread.
    """

    kind: Literal["whole", "one", "several", "permuted"]
    draw: int
    blocks: str
    num_blocks: int
    kendall_tau: float
    loss: float
    error_pct: float
    num_images: int


class PathGradient(StrictModel):
    """Holds one row of `paths.csv`: the gradient that comes back through paths of one length (Veit et al. 2016).

    Args:
        length: how many blocks it passes through; it takes the shortcut of the others.
        num_paths: of this length that the net has.
        draw: its number among the paths of this length, from 0.
        gradient_norm: L2 norm of the gradient of an image's loss for the first block's input, mean over the images.
        num_images: test images, evenly spread.
    """

    length: int
    num_paths: int
    draw: int
    gradient_norm: float
    num_images: int


BNStatistics = Literal["anew", "stored"]


class SurfacePoint(StrictModel):
    """Holds one row of `surface.csv`: the loss at a point around a trained net (Li et al. 2018).

    Args:
        x, y: along the first and the second random direction; (0, 0) is the net.
        loss, error_pct: mean cross-entropy and top-1 error on training images without augmentation.
        loss_error: standard error of the loss over the images.
        num_images: so many, evenly spread.
        bn: BN's statistics are those of these images, `anew` at each point; or the trained net's, as `stored`.
    """

    model_config = ConfigDict(allow_inf_nan=True)

    x: float
    y: float
    loss: float
    loss_error: float
    error_pct: float
    num_images: int
    bn: BNStatistics = "anew"


GradientKind = Literal["plain", "resnet", "plain-nobn", "resnet-nobn"]
GRADIENT_KINDS: tuple[GradientKind, ...] = get_args(GradientKind)


class GradientCorrelation(StrictModel):
    """Holds one row of `correlations.csv`: an untrained net's input gradients along a line (Balduzzi et al. 2017).

    Args:
        lag: steps between two points of the line, of which the whole has 63.
        correlation: of the gradients at points so far apart, from -1 to 1.
    """

    kind: GradientKind
    depth: int
    seed: int
    lag: int
    correlation: float


class BlockGradient(StrictModel):
    """Holds one row of `block-gradients.csv`: a block's output in an untrained net (Yang et al. 2019).

    Args:
        block: its name; all of a stage have outputs of one shape.
        gradient_norm: L2 norm of the gradient of a mini-batch's mean loss for the block's output.
    """

    kind: GradientKind
    depth: int
    seed: int
    block: str
    gradient_norm: float


def laboratory_file(results_dir: Path, name: str) -> Path:
    """Return the path of what is measured of no run."""
    return results_dir / "laboratory" / name
