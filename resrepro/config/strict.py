"""Be strict about everything that is read from a file. Imports no torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError


class StrictModel(BaseModel):
    """Hold fields that never change, strict about keys and types: a typing error is an error, not a default."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def first_mistake(error: ValidationError) -> str:
    """Return where the first mistake is and what it is, such as `recipe.lr: Input should be a valid number`."""
    first = error.errors()[0]
    return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
