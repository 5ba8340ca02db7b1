"""Write a trained net in a format that other programs read; load it again, and compare the outputs."""

from __future__ import annotations

import importlib.util
import io
import logging
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import get_model

from resrepro.config.datasets import dataset_title
from resrepro.errors import UserError, first_line
from resrepro.evaluation.classifier import Classifier
from resrepro.files import own_temporary, user_errors
from resrepro.models import weights
from resrepro.results.run_store import weights_metadata

# Architectures whose layers are torchvision's, and what they are called there.
TORCHVISION = {
    **{f"resnet{d}-B": f"resnet{d}" for d in (18, 34)},
    **{f"resnet{d}-3x3stride": f"resnet{d}" for d in (50, 101, 152)},
    "resnext50-32x4d": "resnext50_32x4d",
}
NEEDED_FOR_ONNX = ("onnx", "onnxscript", "onnxruntime")
NUM_IMAGES = 8  # that outputs are compared for
MAX_DIFFERENCE = 1e-4  # of the largest output: rounding
HUBCONF = '''"""{title}: `torch.hub.load(folder, "{entry}", source="local")`. Needs torch alone."""

from pathlib import Path

import torch

dependencies = ["torch"]


class Net(torch.nn.Module):
    """Compute logits of images, for inference: {shape} float32 from 0 to 1 -> (N, {num_classes})."""

    class_names = {class_names!r}

    def __init__(self):
        super().__init__()
        self.program = torch.export.load(Path(__file__).with_name("net.pt2")).module()
        self.training = False

    def forward(self, images):
        return self.program(images)

    def train(self, mode=True):
        if mode:
            raise RuntimeError("an exported net cannot be trained; its weights.safetensors can")
        return self


def {entry}(pretrained=True):
    """Load the trained net; its test error on {dataset} is {error} %."""
    if not pretrained:
        raise ValueError("pretrained=False: the exported net is a trained one")
    return Net()
'''


def export(classifier: Classifier, to: str, path: Path, opset: int | None = None) -> tuple[str, float]:
    """Write the net to `path` in a format of FORMATS, in place of an earlier export of that name.

    The file is written beside its place, loaded again, and moved there once it gives the outputs of the net.

    Args:
        path: a file; for `torch-hub-folder` a folder.
        opset: of ONNX; None: torch's choice.

    Returns:
        What the exported net takes and gives; and the largest difference of an output.

    Raises:
        UserError: the format cannot hold this net; a library is missing; it cannot be written; the outputs differ.
    """
    write = FORMATS[to]
    images = torch.rand((NUM_IMAGES, *classifier.pixel_mean.shape), generator=torch.Generator().manual_seed(0))
    with user_errors(path, "--output"), torch.no_grad():
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = own_temporary(path)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            written = folder / path.name
            outputs, takes = write(classifier, written, images, opset)
            expected = classifier(images)
            difference = (outputs - expected).abs().max().item()
            if not difference <= MAX_DIFFERENCE * expected.abs().max().item():
                raise UserError(
                    f"{path}: not written, for its outputs differ from the net's by {difference:.2g}; please report it"
                )
            if written.is_dir():
                path.mkdir(exist_ok=True)
            # hubconf.py comes last: alone, it would be that of other code when the command is typed again
            for file in sorted(written.iterdir(), reverse=True) if written.is_dir() else [written]:
                file.replace(path / file.name if written.is_dir() else path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return takes, difference


def _bare(classifier: Classifier, net: nn.Module, images: Tensor) -> tuple[Tensor, str]:
    """Return the outputs of a net without its preprocessing."""
    shape = _shape(classifier)
    return net.eval()(255 * images - classifier.pixel_mean), (
        f"{shape} float32, pixels from 0 to 255 minus the mean of the training images (pixel_mean of "
        f"resrepro.load_net) -> logits (N, {len(classifier.class_names)})"
    )


def _to_safetensors(classifier: Classifier, path: Path, images: Tensor, _opset: int | None) -> tuple[Tensor, str]:
    run, record = classifier.run, classifier.record
    metadata = weights_metadata(run, record, len(classifier.class_names))
    path.write_bytes(weights.to_safetensors(classifier.net, metadata))
    return _bare(classifier, weights.read_net(path, run.arch), images)


def _to_torchvision(classifier: Classifier, path: Path, images: Tensor, _opset: int | None) -> tuple[Tensor, str]:
    arch = classifier.run.arch
    if arch not in TORCHVISION:
        raise UserError(f"--to torchvision: has no net like {arch}; expected one of {', '.join(TORCHVISION)}")
    content = io.BytesIO()  # torch hides the reason where the disk is full
    torch.save(classifier.net.state_dict(), content)
    path.write_bytes(content.getvalue())
    net = get_model(TORCHVISION[arch], weights=None, num_classes=len(classifier.class_names))
    net.load_state_dict(torch.load(path, weights_only=True))
    return _bare(classifier, net, images)


def _to_torch_hub(classifier: Classifier, path: Path, images: Tensor, _opset: int | None) -> tuple[Tensor, str]:
    path.mkdir()
    run, entry = classifier.run, re.sub(r"\W", "_", classifier.run.arch)
    content = io.BytesIO()
    with _quiet():
        torch.export.save(_program(classifier, images), content)
    (path / "net.pt2").write_bytes(content.getvalue())
    (path / "hubconf.py").write_text(
        HUBCONF.format(
            title=run, entry=entry, shape=_shape(classifier), num_classes=len(classifier.class_names),
            class_names=classifier.class_names, dataset=dataset_title(run.dataset),
            error=classifier.record.final_test_error_pct,
        ),
        encoding="utf-8",
    )  # fmt: skip
    net = torch.hub.load(str(path), entry, source="local")  # type: ignore[no-untyped-call]
    shutil.rmtree(path / "__pycache__", ignore_errors=True)
    return net(images), f'torch.hub.load(folder, "{entry}", source="local"), {_images_to_logits(classifier)}'


def _to_onnx(classifier: Classifier, path: Path, images: Tensor, opset: int | None) -> tuple[Tensor, str]:
    missing = [name for name in NEEDED_FOR_ONNX if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"--to onnx: needs {', '.join(missing)}, which this environment lacks; pip install resrepro[export]"
        )
    import onnx
    import onnxruntime

    run, record = classifier.run, classifier.record
    try:
        with _quiet():
            written = torch.onnx.export(
                _program(classifier, images), opset_version=opset, verbose=False,
                input_names=["images"], output_names=["logits"],
            )  # fmt: skip
            assert written is not None
            written.model.metadata_props.update(weights_metadata(run, record, len(classifier.class_names)))
            written.save(path)
        (found,) = {of.version for of in onnx.load(path).opset_import if not of.domain}
    except OSError:  # such as a full disk
        raise
    except Exception as error:  # the converters raise almost anything
        raise UserError(f"--to onnx: {run.arch} cannot be written in {_opset(opset)} ({first_line(error)})") from error
    if opset not in (None, found):
        raise UserError(
            f"--opset {opset}: an operator of {run.arch} has no form in it, and the converter left opset {found}; "
            "leave the option out"
        )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (outputs,) = session.run(None, {"images": images.numpy()})
    return torch.from_numpy(outputs), f"{_opset(found)}, images {_images_to_logits(classifier)}"


FORMATS: dict[str, Callable[[Classifier, Path, Tensor, int | None], tuple[Tensor, str]]] = {
    "safetensors": _to_safetensors,
    "torchvision": _to_torchvision,
    "onnx": _to_onnx,
    "torch-hub-folder": _to_torch_hub,
}
SUFFIXES = {"safetensors": weights.SUFFIX, "torchvision": ".pth", "onnx": ".onnx", "torch-hub-folder": ""}


def _program(classifier: Classifier, images: Tensor) -> torch.export.ExportedProgram:
    return torch.export.export(classifier, (images,), dynamic_shapes=({0: torch.export.Dim("N")},))


def _opset(opset: int | None) -> str:
    return "ONNX" if opset is None else f"ONNX opset {opset}"


def _shape(classifier: Classifier) -> str:
    return f"(N, {', '.join(map(str, classifier.pixel_mean.shape))})"


def _images_to_logits(classifier: Classifier) -> str:
    return f"{_shape(classifier)} float32 from 0 to 1 -> logits (N, {len(classifier.class_names)})"


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what exporters say of their own insides."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
