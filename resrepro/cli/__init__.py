"""Define the command line. A module holds one command or a few, and they import torch only if needed."""

from __future__ import annotations

from typing import Annotated

import typer

from resrepro import __version__
from resrepro.cli import (
    bench,
    compare,
    data,
    evaluate,
    experiments,
    export,
    laboratory,
    results,
    run,
    submit,
    summary,
    verify,
    watch,
)

app = typer.Typer(
    help="Reproduce 'Deep Residual Learning for Image Recognition' (He, Zhang, Ren, Sun 2015).\n\n"
    "Start with 'resrepro run quickstart': no download, a few minutes on a CPU.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"resrepro {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None: ...


app.command("list")(experiments.list_experiments)
app.command()(experiments.show)
app.command()(run.run)
app.command()(submit.submit)
app.command()(watch.watch)
app.command()(results.plot)
app.command()(results.table)
app.command()(results.report)
app.command()(evaluate.evaluate)
app.command()(verify.verify)
app.command()(compare.compare)
app.command()(export.export)
app.command()(export.predict)
app.command()(laboratory.responses)
app.command()(laboratory.lesions)
app.command()(laboratory.surface)
app.command()(laboratory.initialization)
app.command()(summary.summary)
app.command()(bench.bench)
app.add_typer(data.app, name="data")
