"""Be strict about everything that is read from a file. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from resrepro.errors import UserError, did_you_mean

Parsed = TypeVar("Parsed", bound="StrictModel")

EXPECTED = {  # in words of TOML, where pydantic's are those of Python
    "tuple_type": "expected an array, such as [0, 1]; of tables, each under its own [[...]]",
    "model_type": "expected a table; of several, each under its own [[...]]",
    "too_short": "expected at least one",
    "string_pattern_mismatch": "expected letters and digits of ASCII, '.', '_' and '-', the first a letter or digit",
}

SYNONYMS = {  # what a key is called elsewhere
    "iterations": "total_iters",
    "max_iter": "total_iters",
    "milestones": "lr_drop_iters",
    "learning_rate": "lr",
}


class StrictModel(BaseModel):
    """Hold fields that never change, strict about keys and types: a typing error is an error, not a default."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def first_mistake(error: ValidationError) -> str:
    """Return where the first mistake is and what it is, such as `recipe.lr: Input should be a valid number`."""
    first = error.errors()[0]
    return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))


def parse(model: type[Parsed], table: dict[str, Any], place: str) -> Parsed:
    """Return the model of a table of TOML.

    Raises:
        UserError: the first mistake, in one line: place, key, value, what was expected, the nearest known key.
    """
    try:
        return model.model_validate(_tuples(table))
    except ValidationError as error:
        raise UserError(f"{place}: {_describe(error, model)}") from error


def _tuples(value: Any) -> Any:
    """Make tuples of arrays: TOML and JSON know arrays only, and our types are strict."""
    if isinstance(value, dict):
        return {k: _tuples(v) for k, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _describe(error: ValidationError, model: type[StrictModel]) -> str:
    """Describe the first mistake in one line: key, offending value, what was expected, nearest known key."""
    every = error.errors()
    # a mistyped key is missing, too; and an array of tables with mistakes has none that count
    order = {"extra_forbidden": 0, "missing": 2, "too_short": 3}
    first = min(every, key=lambda mistake: order.get(mistake["type"], 1))
    *parents, key = first["loc"] or ("",)
    inside = "".join(f"{p + 1}: " if isinstance(p, int) else f"{p} " for p in parents)
    if first["type"] == "extra_forbidden":
        known = _keys(model, parents)
        meant = SYNONYMS.get(str(key))
        hint = f"; did you mean '{meant}'?" if meant in known else did_you_mean(str(key), known)
        return f"{inside}unknown key '{key}'{hint}"
    if first["type"] == "missing":
        return f"{inside}the key '{key}' is missing"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{inside}{f'{key + 1}: ' if isinstance(key, int) else ''}{message}"
    got = [*first["input"]] if isinstance(first["input"], tuple) else first["input"]
    said = EXPECTED.get(first["type"]) or f"{message[0].lower()}{message[1:]}"
    return f"{inside}{key + 1 if isinstance(key, int) else key}: got {got!r}: {said}"


def _keys(model: type[StrictModel], parents: list[int | str]) -> list[str]:
    """Return the keys that the table at `parents` may have."""
    for name in (p for p in parents if isinstance(p, str)):
        model = next(_models_in(model.model_fields[name].annotation), model)
    return list(model.model_fields)


def _models_in(annotation: Any) -> Iterator[type[StrictModel]]:
    """Yield the tables in a type such as `tuple[Table, ...]` or `Table | None`."""
    if isinstance(annotation, type) and issubclass(annotation, StrictModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
