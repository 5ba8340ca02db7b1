"""Run the command that was typed, and say in one line what is wrong where it cannot be read."""

from __future__ import annotations

import re
from typing import Any

import typer

from resrepro.errors import UsageError, did_you_mean

LIKENESS = 0.7  # of a word and the one that may be meant: --epochs is none of our options
ParserError: Any = typer.BadParameter.__mro__[1]  # the base of typer's errors of usage, which it does not export
WORDS = {  # of typer and pydantic, and ours
    "Input should be ": "expected ",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "a valid integer": "an integer",
    "a valid number": "a number",
    "requires an argument": "needs a value",
    "does not take a value": "takes no value",
}


def call(app: typer.Typer) -> int:
    """Run the command that was typed; return its exit code.

    Raises:
        UsageError: there is no such command or option, or a value is missing, wrong, or one too many.
    """
    try:
        return app(prog_name="resrepro", standalone_mode=False) or 0
    except ParserError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # of a group of commands, without one: its message is the help
            error.show()
            return 2
        message = _message(error)
        more = f"see {error.ctx.command_path} --help" if error.ctx else "for more type the command with --help"
        raise UsageError(message if message.endswith("?") else f"{message}; {more}") from error


def _message(error: Any) -> str:
    kind, place = type(error).__name__, ""
    command: Any = None
    if error.ctx:
        command, root = error.ctx.command, error.ctx.find_root().command_path
        place = f"{error.ctx.command_path.removeprefix(root)}: ".lstrip(": ")
    if kind == "NoSuchOption":
        known = [name for its in command.get_params(error.ctx) for name in its.opts if name.startswith("--")]
        near = did_you_mean(f"--{error.option_name.lstrip('-')}", known, likeness=LIKENESS)
        where = " before the command" if hasattr(command, "commands") else ""
        return f"{place}there is no option '{error.option_name}'{where}{near}"
    if kind == "MissingParameter":
        return f"{place}{_name(error.param)} is missing: {_in_sentence(error.param.help)}"
    if missing := re.match(r"No such command (['\"])(.*?)\1", error.message):
        near = did_you_mean(missing[2], command.commands, likeness=LIKENESS)
        return f"{place}there is no command '{missing[2]}'{near}"
    if extra := re.fullmatch(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", error.message):
        return f"{place}more than it takes: '{extra[1]}'"
    if kind == "BadParameter" and hasattr(error.__cause__, "errors"):  # pydantic's, with what was given
        message = error.message.partition(", unable")[0]
        given = str(error.__cause__.errors()[0]["input"]) or "''"
        return f"{_name(error.param)} {given}: {_in_our_words(message)}"
    return _in_our_words(error.format_message())


def _name(param: Any) -> str:
    return str(param.opts[0] if param.param_type_name == "option" else param.metavar or param.name.upper())


def _in_our_words(text: str) -> str:
    for theirs, ours in WORDS.items():
        text = text.replace(theirs, ours)
    return _in_sentence(text)


def _in_sentence(text: str) -> str:
    return f"{text[:1].lower()}{text[1:].rstrip('.')}"
