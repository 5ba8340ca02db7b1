"""Let atheris choose the inputs of a test of `test_readers.py`, by the branches that they reach: libFuzzer for Python.

pip install atheris
PYTHONPATH=.:tests python -m crash.guided bytes_of_curves -max_total_time=600 -len_control=0 -max_len=999
"""

from __future__ import annotations

import importlib
import inspect
import sys
import tempfile
from pathlib import Path
from typing import Any

import atheris
from hypothesis import given
from hypothesis import strategies as st

with atheris.instrument_imports(include=["resrepro"]):
    test_readers = importlib.import_module("crash.test_readers")  # as pytest does

DRAWN = {
    "changes": test_readers.edits,
    "line": st.integers(0, 99),
    "steps": test_readers.steps,
    "value": test_readers.values,
}


def main() -> None:
    """Look until an example is found, or the time of libFuzzer's options is over."""
    inner = getattr(test_readers, f"test_{sys.argv.pop(1)}").hypothesis.inner_test
    wanted = inspect.signature(inner).parameters
    with tempfile.TemporaryDirectory() as folder:
        fixtures = {
            "folder": lambda: Path(folder),
            "name": lambda: "weights.safetensors",
            "trained": test_readers.trained.__wrapped__,
        }
        bound = {name: make() for name, make in fixtures.items() if name in wanted}

        @given(**{name: DRAWN[name] for name in wanted if name in DRAWN})
        def test(**drawn: Any) -> None:
            inner(**bound, **drawn)

        atheris.Setup(sys.argv, test.hypothesis.fuzz_one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
