"""Say how a net is trained, as a TOML file does. Imports no torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from resrepro.config.strict import StrictModel
from resrepro.errors import UserError

MAX_RESIZE = 512  # pixels; images so resized are kept in memory
MIN_ITERS_A_TEST = 50  # a shortened schedule is not spent on evaluating
MIN_BN_AVERAGE_BATCHES = 10


class Warmup(StrictModel):
    """Begin with a smaller learning rate.

    Args:
        until_train_error_pct: it ends when the training error, measured, is below this bound (Sec. 4.2, ResNet-110).
        iters: it ends after so many iterations of training, in the place of that (He et al. 2016, arXiv 1603.05027,
            appendix: 400).
    """

    lr: float = Field(gt=0)
    until_train_error_pct: float | None = Field(default=None, gt=0, le=100)
    iters: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _has_one_end(self) -> Warmup:
        if (self.until_train_error_pct is None) == (self.iters is None):
            raise ValueError("warmup: expected either until_train_error_pct or iters, which says when it ends")
        return self

    @model_serializer(mode="wrap")
    def _with_its_end_alone(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in fields(self).items() if value is not None}

    def scaled(self, scale: float, total_iters: int) -> Warmup | None:
        """Return that of a schedule `scale` times as long, which leaves an iteration of it; none if it rounds to 0."""
        if self.iters is None:
            return self
        iters = min(round(self.iters * scale), total_iters - 1)
        return self.model_copy(update={"iters": iters}) if iters else None

    @property
    def end(self) -> str:
        """Say when it ends: `until training error < 80 %`, `for 400 iterations`."""
        if self.iters is not None:
            return f"for {self.iters} iterations"
        return f"until training error < {self.until_train_error_pct:g} %"

    def __str__(self) -> str:
        return f"lr {self.lr:g} {self.end}"


class Plateau(StrictModel):
    """Divide the rate by 10 where the training error stops falling (Sec. 3.4 says no more than that).

    The error is that of the curves; it stops falling where no point of the last `patience_iters` iterations is lower
    by `min_fall_pct` than the lowest before them, counted anew from each division. The test set is not looked at.
    """

    patience_iters: int = Field(ge=1)
    min_fall_pct: float = Field(ge=0)

    def scaled(self, scale: float) -> Plateau:
        return Plateau(patience_iters=max(1, round(self.patience_iters * scale)), min_fall_pct=self.min_fall_pct)

    def __str__(self) -> str:
        return f"no fall of {self.min_fall_pct:g} points in {self.patience_iters} iterations"


class ScaleCrop(StrictModel):
    """Resize images of any size, crop them to a square, flip them, and augment their colors (Sec. 3.4).

    Args:
        size: side of the crop, pixels.
        shorter_side: in training the image's shorter side is drawn from these, both included, pixels; in the test of
            the curves, the center crop, it is the first.
    """

    size: int = Field(ge=8)
    shorter_side: tuple[int, int]

    @model_validator(mode="after")
    def _crop_fits(self) -> ScaleCrop:
        low, high = self.shorter_side
        if not self.size <= low <= high:
            raise ValueError(f"shorter_side {[low, high]}: expected two sizes in order, {self.size} pixels or more")
        return self

    def of_size(self, size: int) -> ScaleCrop:
        """Return the same view of smaller images."""
        low, high = (round(side * size / self.size) for side in self.shorter_side)
        return ScaleCrop(size=size, shorter_side=(low, high))

    def __str__(self) -> str:
        return f"{self.size} px of {self.shorter_side[0]}-{self.shorter_side[1]} px"


IMAGENET_CROP = ScaleCrop(size=224, shorter_side=(256, 480))  # Sec. 3.4


class Recipe(StrictModel):
    """Say how a net is trained (Sec. 4.2). All lengths are iterations of one mini-batch.

    What has a default is a switch: the default is our reading where the paper is silent or does not apply.

    Args:
        total_iters: iterations in all.
        batch_size: images a mini-batch.
        lr: base learning rate, divided by 10 at each of `lr_drop_iters`; with a `plateau`, there at the latest.
        momentum: of SGD; no Nesterov.
        weight_decay: added to the gradient as `weight_decay` times the parameter.
        crop_padding: zeros on each side, pixels, before the random crop; 4 gives 9 x 9 offsets.
        curve_every_iters: iterations between two points of the curves.
        warmup: None, or how the training begins.
        bn_devices: in training BN sees each of so many equal parts of the mini-batch alone, as on two GPUs (Sec. 4.2).
        decay: of `all` parameters, of the `weights` of convolutions and fc alone, or of the `convolutions` alone.
        momentum_form: `pytorch` is v = m v + g, w -= lr v; `caffe` is v = m v + lr g, w -= v, another one where lr
            changes.
        train_images: so many training images, the first in the dataset's order; None: all.
        plateau: None, or when the rate is divided by 10 earlier.
        scale_crop: None (small images of one size, padded and cropped), or how images of any size are.
        resize: None (small images are of one size), or the side of the square that images of any size become, pixels:
            the shorter side is resized to it, and the middle of the longer one kept.
        init: He initialization of the convolutions (He et al. 2015, [13]): normal with variance 2 / `fan_in` or
            2 / `fan_out`.
        fc_init: of the last layer: `pytorch` (uniform, weight and bias, within 1 / sqrt(inputs)), `he` (as the
            convolutions, bias zero) or `gaussian` (standard deviation 0.01, bias zero).
        bn_average_batches: None: the curves' test uses BN's moving averages; or the number of training mini-batches,
            those that come next, over which BN's statistics are averaged for a second test at each curve point.
        signals: of each layer the norms of gradient and weights are recorded at a few `moments`; or at these and at
            each curve point, with the deviation of the signal on its way forward (`curve`).
    """

    total_iters: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    lr: float = Field(gt=0)
    lr_drop_iters: tuple[int, ...]
    momentum: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    crop_padding: int = Field(ge=0)
    curve_every_iters: int = Field(ge=1)
    warmup: Warmup | None = None
    bn_devices: int = Field(default=1, ge=1)
    decay: Literal["all", "weights", "convolutions"] = "all"
    momentum_form: Literal["pytorch", "caffe"] = "pytorch"
    train_images: int | None = Field(default=None, ge=1)
    plateau: Plateau | None = None
    scale_crop: ScaleCrop | None = None
    resize: int | None = Field(default=None, ge=8, le=MAX_RESIZE)
    init: Literal["fan_in", "fan_out"] = "fan_out"
    fc_init: Literal["pytorch", "he", "gaussian"] = "pytorch"
    bn_average_batches: int | None = Field(default=None, ge=1)
    signals: Literal["moments", "curve"] = "moments"

    @property
    def largest_side(self) -> int:
        """The largest shorter side that images are resized to, pixels; 0: they are taken as they are."""
        return self.scale_crop.shorter_side[1] if self.scale_crop else self.resize or 0

    @model_validator(mode="after")
    def _parts_are_equal(self) -> Recipe:
        if self.batch_size % self.bn_devices:
            raise ValueError(f"bn_devices {self.bn_devices}: expected a divisor of batch_size ({self.batch_size})")
        return self

    @model_validator(mode="after")
    def _drops_in_order(self) -> Recipe:
        drops = self.lr_drop_iters
        if list(drops) != sorted(set(drops)) or any(not 0 < d < self.total_iters for d in drops):
            raise ValueError(
                f"lr_drop_iters {list(drops)}: expected increasing iterations between 0 and total_iters "
                f"({self.total_iters})"
            )
        return self

    @model_validator(mode="after")
    def _warmup_leaves_a_rest(self) -> Recipe:
        if self.warmup is not None and (self.warmup.iters or 0) >= self.total_iters:
            raise ValueError(f"warmup: {self.warmup.iters} iterations: expected fewer than all ({self.total_iters})")
        return self

    @model_validator(mode="after")
    def _one_view(self) -> Recipe:
        if self.scale_crop is not None and (self.crop_padding or self.train_images or self.resize):
            raise ValueError("scale_crop: expected crop_padding = 0 and neither train_images nor resize beside it")
        return self

    def scaled(self, scale: float) -> Recipe:
        """Return the same recipe with a schedule `scale` times as long: iterations, drops, and a warm-up by iterations.

        A warm-up that the training error ends, the rates and the mini-batch stay. BN is averaged over a tenth of the
        iterations between two curve points, where that is less, so that a short schedule is not spent on it.
        """
        if scale == 1:
            return self
        total = max(1, round(self.total_iters * scale))
        drops = sorted({round(d * scale) for d in self.lr_drop_iters})
        batches = self.bn_average_batches
        least = MIN_ITERS_A_TEST * (1 if batches is None else 2)
        every = min(self.curve_every_iters, max(least, round(self.curve_every_iters * scale)))
        return self.model_copy(
            update={
                "total_iters": total,
                "lr_drop_iters": tuple(d for d in drops if 0 < d < total),
                "curve_every_iters": every,
                "bn_average_batches": batches and min(batches, max(MIN_BN_AVERAGE_BATCHES, every // 10)),
                "plateau": self.plateau and self.plateau.scaled(scale),
                "warmup": self.warmup and self.warmup.scaled(scale, total),
            }
        )

    def with_image_size(self, size: int) -> Recipe:
        """Return the same recipe on smaller images.

        Raises:
            UserError: it takes images as they are.
        """
        if self.scale_crop is None:
            raise UserError(
                f"--image-size {size}: this recipe takes images as they are; it is for those on ImageNet; --resize "
                f"{size} resizes photographs for this one"
            )
        return self.model_copy(update={"scale_crop": self.scale_crop.of_size(size)})

    def resized(self, side: int) -> Recipe:
        """Return the same recipe on images of any size, which become squares.

        Raises:
            UserError: it crops photographs.
        """
        if self.scale_crop is not None:
            raise UserError(
                f"--resize {side}: this recipe crops photographs of any size; resizing is for those of CIFAR; "
                f"--image-size {side} takes smaller crops"
            )
        return self.model_copy(update={"resize": side})


# Also what is meant by a run that was recorded before a switch was there.
SWITCHES: dict[str, Any] = {name: f.default for name, f in Recipe.model_fields.items() if not f.is_required()}
