"""Read and write what trained nets were found to be under the test protocols."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from resrepro.errors import UserError
from resrepro.files import exclusive, write_bytes
from resrepro.results.digests import values_sha256
from resrepro.results.records import Evaluation

_EVALUATIONS = TypeAdapter(list[Evaluation])


def read_evaluations(path: Path) -> list[Evaluation]:
    """Read what `evaluate` recorded; return an empty list where there is no such file.

    Raises:
        UserError: the file is damaged.
    """
    mend = "damaged; delete it and evaluate again"
    try:
        found = _EVALUATIONS.validate_json(path.read_bytes())
    except FileNotFoundError:
        return []
    except ValidationError as error:
        raise UserError(f"{path}: {mend}") from error
    if any(e.sha256 not in (None, _sealed(e).sha256) for e in found):
        raise UserError(f"{path}: {mend}, for a SHA-256 in it is not that of its entry")
    return [e.model_copy(update={"sha256": None}) for e in found]


def record_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Add an evaluation to a file, in place of an earlier one of the same subject.

    Raises:
        UserError: the file is damaged, cannot be written, or another process is writing it for long.
    """
    locked = f"{path}: another process is writing it; wait for it, and evaluate again"
    with exclusive(path.with_name(f".{path.name}.lock"), lambda: UserError(locked), wait_s=10):
        kept = [e for e in read_evaluations(path) if e.subject != evaluation.subject]
        content = _EVALUATIONS.dump_json([*map(_sealed, [*kept, evaluation])], indent=2) + b"\n"
        write_bytes(path, content)


def _sealed(evaluation: Evaluation) -> Evaluation:
    """Return an entry with its digest."""
    digest = values_sha256(evaluation.model_dump(mode="json", exclude={"sha256"}))
    return evaluation.model_copy(update={"sha256": digest})
