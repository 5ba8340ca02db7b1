"""Name the architectures that an experiment may use. Imports no torch."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

from resrepro.errors import UserError, did_you_mean

Shortcut = Literal["A", "B", "C", "scaled", "gated"]
Family = Literal["cifar", "imagenet"]
Block = Literal[
    "basic", "bottleneck", "1layer", "3layer", "preactivation", "preactivation-bottleneck", "halves", "gates", "highway"
]
OWN = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")  # module:name


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Describe one network of the paper, a relative of them, or a net of other code.

    The relatives: ResNeXts (Xie, Girshick, Dollar, Tu, He 2017), pre-activation ResNets and the shortcuts of their
    paper (He, Zhang, Ren, Sun 2016), and Highway nets (Srivastava, Greff, Schmidhuber 2015).

    Args:
        own: `module:name` of what builds a net of other code, of which nothing else is known; else empty.
        family: `cifar` (Sec. 4.2, 32x32 input) or `imagenet` (Table 1, 224x224 input); None: not known.
        depth: number of weighted layers; 0: not known.
        block: what its stages are made of, `models.relatives` has those that are not in the paper's Fig. 5.
        shortcut: option A, B or C of Sec. 3.3; option A times 0.5 (`scaled`) or times a gate (`gated`); None: there is
            none, as in a plain net, or it is part of the block, as in a Highway net.
        stride_in_3x3: the bottleneck's stride 2 sits in its 3x3 layer (torchvision's nets), not in
            its first 1x1 (the paper's).
        cardinality: number of paths of a ResNeXt's bottleneck; 1 is a ResNet.
        base_width: channels of one path in the first stage; each later stage has twice as many.
        batch_norm: without it (CIFAR nets only) there is a bias for each channel in BN's place.
    """

    own: str = ""
    family: Family | None = None
    depth: int = 0
    block: Block = "basic"
    shortcut: Shortcut | None = None
    stride_in_3x3: bool = False
    cardinality: int = 1
    base_width: int = 64
    batch_norm: bool = True

    @property
    def residual(self) -> bool:
        return self.shortcut is not None or self.block == "highway"

    @property
    def image_size(self) -> int:
        """Return the side of the paper's input image, pixels; of a net of other code, that of CIFAR's."""
        return 224 if self.family == "imagenet" else 32

    @property
    def num_classes(self) -> int:
        """Return the number of classes of the paper's dataset; of a net of other code, that of CIFAR-10."""
        return 1000 if self.family == "imagenet" else 10

    def recipe_family(self, *, crops: bool) -> Family:
        """Return whose recipe trains the net; one of other code is ImageNet's if it sees crops, else CIFAR's."""
        return self.family or ("imagenet" if crops else "cifar")

    @property
    def label(self) -> str:
        """Return the name as the paper writes it, such as `ResNet-34 B`, `plain-20` or `ResNeXt-50 (32x4d)`."""
        if self.own:
            return self.own.partition(":")[2]
        if self.cardinality > 1:
            return f"ResNeXt-{self.depth} ({self.cardinality}x{self.base_width}d)"
        name = NAMES.get(self.block, "ResNet" if self.residual else "plain")
        option = ""
        if self.shortcut == "C" or (self.residual and self.family == "imagenet" and self.depth < 50):
            option = f" {self.shortcut}"
        elif self.family == "cifar":
            remark = REMARKS.get(self.shortcut or "") or REMARKS.get(self.block)
            option = f" ({remark})" if remark else ""
        stride = " (stride in 3x3)" if self.stride_in_3x3 else ""
        return f"{name}-{self.depth}{option}{stride}{'' if self.batch_norm else ' without BN'}"


NAMES: dict[str, str] = {
    "preactivation": "pre-activation ResNet",
    "preactivation-bottleneck": "pre-activation ResNet",
    "highway": "Highway",
}
REMARKS: dict[str, str] = {  # of shortcuts and blocks
    "scaled": "half the shortcut",
    "gated": "gated shortcut",
    "halves": "half of both",
    "gates": "exclusive gates",
    "bottleneck": "bottlenecks",
    "preactivation-bottleneck": "bottlenecks",
    "1layer": "one layer in F",
    "3layer": "three layers in F",
}
LAYERS: dict[Block, int] = {  # weighted layers in a block's F
    "basic": 2, "bottleneck": 3, "1layer": 1, "3layer": 3,
    "preactivation": 2, "preactivation-bottleneck": 3, "halves": 2, "gates": 2, "highway": 1,
}  # fmt: skip

# The CIFAR nets by what stands before and after their depth; plain nets and ResNets of the paper first.
CIFAR_NETS: dict[str, Architecture] = {
    name: Architecture(family="cifar", **fields)  # type: ignore[arg-type]
    for name, fields in {
        "plain": {},
        "resnet": {"shortcut": "A"},
        "plain-nobn": {"batch_norm": False},
        "resnet-nobn": {"shortcut": "A", "batch_norm": False},
        "plain-bottleneck": {"block": "bottleneck"},
        "resnet-bottleneck": {"block": "bottleneck", "shortcut": "A"},
        "resnet-1layer": {"block": "1layer", "shortcut": "A"},
        "resnet-3layer": {"block": "3layer", "shortcut": "A"},
        "resnet-C": {"shortcut": "C"},
        "resnet-scaled": {"shortcut": "scaled"},
        "resnet-gated": {"shortcut": "gated"},
        "resnet-halves": {"block": "halves", "shortcut": "A"},
        "resnet-gates": {"block": "gates", "shortcut": "A"},
        "preact": {"block": "preactivation", "shortcut": "A"},
        "preact-bottleneck": {"block": "preactivation-bottleneck", "shortcut": "B"},
        "highway": {"block": "highway"},
    }.items()
}


def _cifar(name: str, depth: int) -> Architecture:
    return replace(CIFAR_NETS[name], depth=depth)


def _imagenet(depth: int, shortcut: Shortcut | None, *, stride_in_3x3: bool = False) -> Architecture:
    block: Block = "basic" if depth < 50 else "bottleneck"
    return Architecture(family="imagenet", depth=depth, block=block, shortcut=shortcut, stride_in_3x3=stride_in_3x3)


def _resnext(family: Family, depth: int, cardinality: int, base_width: int) -> Architecture:
    return Architecture(
        family=family, depth=depth, block="bottleneck", shortcut="B", stride_in_3x3=True, cardinality=cardinality,
        base_width=base_width,
    )  # fmt: skip


NETWORKS_CSV = Path(__file__).with_name("networks.csv")  # counted by models.complexity; a test counts them again
VGG_LABELS = {"vgg16": "VGG-16", "vgg19": "VGG-19"}  # the paper compares its nets with these, which are not trained

MAX_DEPTH = 9998
CIFAR_DEPTHS = (20, 32, 44, 56, 110)  # n = 3, 5, 7, 9, 18
OPTIONS: tuple[Shortcut, ...] = ("A", "B", "C")

ARCHITECTURES: dict[str, Architecture] = {
    **{f"plain{d}": _imagenet(d, None) for d in (18, 34)},
    **{f"resnet{d}-{option}": _imagenet(d, option) for d in (18, 34) for option in OPTIONS},
    **{f"resnet{d}": _imagenet(d, "B") for d in (50, 101, 152)},
    **{f"resnet{d}-3x3stride": _imagenet(d, "B", stride_in_3x3=True) for d in (50, 101, 152)},
    **{f"plain{d}": _cifar("plain", d) for d in CIFAR_DEPTHS},
    **{f"resnet{d}": _cifar("resnet", d) for d in (*CIFAR_DEPTHS, 1202)},
    **{f"plain{d}-nobn": _cifar("plain-nobn", d) for d in (20, 56)},
    **{f"resnext{d}-32x4d": _resnext("imagenet", d, 32, 4) for d in (50, 101)},
    **{f"resnext29-{c}x64d": _resnext("cifar", 29, c, 64) for c in (8, 16)},
    **{f"{net}{d}-bottleneck": _cifar(f"{net}-bottleneck", d) for net in ("plain", "resnet") for d in (20, 56)},
    **{f"resnet{d}-{f}": _cifar(f"resnet-{f}", d) for f in ("1layer", "3layer") for d in (20, 56)},
    **{f"preact{d}": _cifar("preact", d) for d in (20, 56, 110)},
    **{f"{net}164-bottleneck": _cifar(f"{net}-bottleneck", 164) for net in ("resnet", "preact")},
    **{f"resnet110-{kind}": _cifar(f"resnet-{kind}", 110) for kind in ("scaled", "halves", "gates", "gated", "C")},
    **{f"highway{d}": _cifar("highway", d) for d in (20, 32)},
}


def architecture(name: str) -> Architecture:
    """Return the named architecture, or a CIFAR net of any depth, such as `plain26`, `resnet26-nobn` or `highway26`.

    `cifar-plain50` and `cifar-resnet152` name the CIFAR nets whose short name belongs to ImageNet. `module:name` is a
    net of other code, which is not imported here: `resrepro.models.own` builds it.

    Raises:
        UserError: no such architecture; gives the nearest name.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    if ":" in name:
        if not OWN.fullmatch(name):
            raise UserError(f"architecture '{name}': expected MODULE:NAME, such as my_package.my_module:MyNet")
        return Architecture(own=name)
    match = re.fullmatch(r"(?:cifar-)?([a-z]+)([1-9][0-9]*)((?:-[0-9a-zA-Z]+)?)", name)
    if name in ("resnet18", "resnet34"):
        raise UserError(
            f"architecture '{name}': which shortcuts? {name}-A has no parameters in them, as the plain net of Table 2; "
            f"{name}-B has projections, as torchvision's {name}"
        )
    if match is None or match[1] + match[3] not in CIFAR_NETS or match[2] in ("18", "34"):
        raise UserError(f"unknown architecture '{name}'{did_you_mean(name, ARCHITECTURES)}")
    kind = match[1] + match[3]
    if len(match[2]) > 4 or int(match[2]) > MAX_DEPTH:
        raise UserError(f"architecture '{name[:40]}': expected at most {MAX_DEPTH} layers")
    depth, step = int(match[2]), 3 * LAYERS[CIFAR_NETS[kind].block]
    if depth < step + 2 or (depth - 2) % step:
        below = max(step + 2, (depth - 2) // step * step + 2)
        raise UserError(
            f"architecture '{name}': a CIFAR net of these blocks has {step}n+2 layers ({step + 2}, {2 * step + 2}, "
            f"{3 * step + 2}, ...), and {depth} is not one of them; the nearest are {match[1]}{below}{match[3]} and "
            f"{match[1]}{below + step}{match[3]}"
        )
    return _cifar(kind, depth)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Hold the counts of one net, and of its forward pass of one image.

    Args:
        num_layers: weighted layers, as the paper counts them (shortcut projections are not counted).
        num_multiply_adds: of convolutions and fc (Table 1's "FLOPs").
        num_blocks: blocks of each stage.
        output_sizes: stage -> (channels, height, width).
    """

    num_layers: int
    num_parameters: int
    num_multiply_adds: int
    num_blocks: tuple[int, ...]
    output_sizes: dict[str, tuple[int, int, int]]


@cache
def counted_nets() -> dict[str, Counts]:
    """Return the counts of the nets in ARCHITECTURES, for one image of the paper's size; also of VGG-16 and VGG-19."""
    rows = csv.DictReader(NETWORKS_CSV.read_text(encoding="utf-8").splitlines())
    return {row["arch"]: _counts(row) for row in rows}


def _counts(row: dict[str, str]) -> Counts:
    """Read a row of networks.csv, whose output sizes are written `conv1:64x112x112 layer1:64x56x56`."""
    sizes = {}
    for stage, _, size in (text.partition(":") for text in row["output_sizes"].split()):
        channels, height, width = map(int, size.split("x"))
        sizes[stage] = channels, height, width
    return Counts(
        num_layers=int(row["num_layers"]),
        num_parameters=int(row["num_parameters"]),
        num_multiply_adds=int(row["num_multiply_adds"]),
        num_blocks=tuple(map(int, row["num_blocks"].split())),
        output_sizes=sizes,
    )


def multiply_adds(name: str) -> int:
    """Return the multiply-adds of one net.

    Raises:
        UserError: they are not counted.
    """
    counted = counted_nets()
    if name not in counted:
        raise UserError(f"the multiply-adds of '{name}' are not counted{did_you_mean(name, counted)}")
    return counted[name].num_multiply_adds


def is_architecture(name: str) -> bool:
    """Tell whether a net of this package has this name."""
    try:
        return not architecture(name).own
    except UserError:
        return False
