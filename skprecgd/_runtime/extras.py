"""Imports of optional packages; errors name the extra that installs them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["import_extra"]


def import_extra(module: str, caller: str, extra: str) -> Any:
    """Import an optional module; where it is missing, say what to install.

    `caller` is the function that needs the module, and `extra` the extra of this
    package that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f'{caller} needs {package}; install with: pip install "skprecgd[{extra}]".'
        ) from error
