"""Be strict about everything that is read from a file. Imports no torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """Hold fields that never change, strict about keys and types: a typing error is an error, not a default."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
