"""A reproduction of "Deep Residual Learning for Image Recognition" (He, Zhang, Ren, Sun 2015).

docs/python.md shows what the functions here do. They are imported when they are first used, and torch with those that
need it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resrepro.api import build_net, curves, figure, load_net, records, run
    from resrepro.errors import UserError

__version__ = "0.1.0"
__all__ = ["UserError", "build_net", "curves", "figure", "load_net", "records", "run"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'resrepro' has no attribute '{name}'")
    import resrepro.api
    import resrepro.errors

    return getattr(resrepro.errors if name == "UserError" else resrepro.api, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
