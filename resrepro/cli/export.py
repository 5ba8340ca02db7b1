"""The commands that take a trained net elsewhere: into other formats, and to your images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from resrepro.cli.options import DEFAULT_DATA, DEFAULT_RESULTS, ReadDir, RunName, data_option, say
from resrepro.errors import UserError, did_you_mean
from resrepro.results.status import named_run

MeanDir = Annotated[Path, data_option("Look in this folder for the dataset, whose mean is subtracted.")]


def export(
    run: RunName,
    to: Annotated[
        str, typer.Option(show_default=False, help="Write torchvision, safetensors, onnx, or torch-hub-folder.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(help="Write to this file or folder; by default, to the current folder, with the run's name."),
    ] = None,
    opset: Annotated[int | None, typer.Option(help="Use this opset of ONNX; by default, torch's choice.")] = None,
    data_dir: MeanDir = DEFAULT_DATA,
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """Write a trained net in a format for other programs.

    The written file is loaded again, and its outputs are compared with the net's.
    """
    files = named_run(run, results_dir, "export")

    from resrepro.evaluation.classifier import load_classifier
    from resrepro.evaluation.export import FORMATS, NUM_IMAGES, SUFFIXES
    from resrepro.evaluation.export import export as write

    if to not in FORMATS:
        raise UserError(f"--to {to}: unknown{did_you_mean(to, FORMATS)}")
    if output is not None and SUFFIXES[to] and output.suffix != SUFFIXES[to]:
        raise UserError(f"--output {output}: expected a name that ends in {SUFFIXES[to]}")
    if opset is not None and to != "onnx":
        raise UserError(f"--opset {opset}: only for --to onnx; leave the option out")
    if output is not None and ((output.parent / "run.json").exists() or (output / "run.json").exists()):
        raise UserError(f"--output {output}: the place of a stored run's own files; give another one")
    if output is not None and (output / "hubconf.py").exists() and not (output / "net.pt2").exists():
        raise UserError(f"--output {output}: has a hubconf.py of other code; give another folder")
    classifier = load_classifier(files.folder, data_dir)
    path = output or Path(f"{classifier.run.stored_name}-seed{classifier.run.seed}{SUFFIXES[to]}")
    takes, difference = write(classifier, to, path, opset)
    say(f"{path}: {takes}")
    say(f"loaded again: the outputs for {NUM_IMAGES} images differ from the net's by {difference:.2g} at most")


def predict(
    run: RunName,
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE", show_default=False, help="Give image files of any size.")
    ],
    top: Annotated[int, typer.Option(help="Print this many classes.", min=1)] = 3,
    data_dir: MeanDir = DEFAULT_DATA,
    results_dir: ReadDir = DEFAULT_RESULTS,
) -> None:
    """Print the most probable classes of images.

    An image of another size than the net's is resized.
    """
    files = named_run(run, results_dir, "predict")
    for image in images:
        if not image.exists():  # said before torch is imported
            raise UserError(f"{image}: not a readable image (No such file); expected PNG, JPEG or the like")

    from resrepro.evaluation.classifier import load_classifier, read_view, top_classes

    classifier = load_classifier(files.folder, data_dir)
    views = [read_view(image, classifier) for image in images]
    for image, (view, done) in zip(images, views, strict=True):
        say(f"{image} ({done})")
        for name, probability_pct in top_classes(classifier, view, top):
            say(f"  {probability_pct:5.1f} %  {name}")
