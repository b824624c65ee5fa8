"""Which kernels run: those compiled by numba, or those of NumPy."""

from __future__ import annotations

import warnings
from functools import cached_property
from types import ModuleType
from typing import Any

from skprecgd.kernels import _numpy

VARIABLE = "SKPRECGD_KERNELS"
# Inputs of fewer numbers than this are left to NumPy, which needs no compiler to start.
_SMALL = 1 << 15


class Choice:
    """The kernels of a process.

    Whatever goes wrong in numba, when it is imported or when it compiles, NumPy takes
    over for good, and one warning says why. Only those who asked for numba by name get
    the error.

    Parameters
    ----------
    asked : {"auto", "numba", "numpy"}
    """

    def __init__(self, asked: str) -> None:
        if asked not in ("auto", "numpy", "numba"):
            raise ValueError(
                f"{VARIABLE} must be 'auto', 'numpy' or 'numba', got {asked!r}."
            )
        self._asked = asked
        if asked == "numba":
            # If numba is missing, the import of the package should say so.
            self._import()

    @property
    def description(self) -> str:
        """One line on the kernels for large inputs."""
        return self._large[1]

    def for_size(self, n_numbers: int) -> ModuleType:
        """The kernels for an input of that size; numba is loaded when first needed."""
        if self._asked == "auto" and n_numbers < _SMALL:
            return _numpy
        return self._large[0]

    def call(self, kernel: str, n_numbers: int, *arguments: Any) -> Any:
        """Call the kernel of that name for an input of that size."""
        kernels = self.for_size(n_numbers)
        if kernels is not _numpy:
            try:
                return getattr(kernels, kernel)(*arguments)
            except kernels.NotCompiled as error:
                self._do_without(error)
        return getattr(_numpy, kernel)(*arguments)

    @cached_property
    def _large(self) -> tuple[ModuleType, str]:
        """The kernels for large inputs, and a description of the choice."""
        asked = self._asked
        if asked == "numpy":
            return _numpy, f"numpy ({VARIABLE}=numpy)"
        try:
            compiled = self._import()
        except _Unavailable as unavailable:
            if unavailable.is_news:
                _warn(unavailable)
            return _numpy, f"numpy ({unavailable})"
        return compiled, "numba" if asked == "auto" else f"numba ({VARIABLE}=numba)"

    def _import(self) -> ModuleType:
        try:
            from skprecgd.kernels import _numba
        # An installation that does not fit NumPy fails in any way it likes.
        except Exception as error:
            if self._asked == "numba":
                raise ImportError(
                    f"{VARIABLE}=numba needs numba, which cannot be imported "
                    f"({_said(error)}); install skprecgd[fast] or unset {VARIABLE}."
                ) from error
            raise _Unavailable(error) from error
        return _numba

    def _do_without(self, error: Exception) -> None:
        """Leave everything to NumPy from here on."""
        if self._asked == "numba":
            raise error
        self._large = _numpy, f"numpy ({error})"
        _warn(error)


class _Unavailable(Exception):
    """numba cannot be imported."""

    def __init__(self, error: Exception) -> None:
        super().__init__(_said(error))
        # Users know what they have not installed, and what they have switched off.
        missing = isinstance(error, ModuleNotFoundError) and error.name == "numba"
        switched_off = getattr(error, "name", None) == "skprecgd.kernels._numba"
        self.is_news = not (missing or switched_off)


def _said(error: BaseException) -> str:
    """What an error says, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _warn(reason: Exception) -> None:
    warnings.warn(
        f"numba does not work here ({reason}). NumPy takes over, which is slower; "
        f"mend the installation, or set {VARIABLE}=numpy to silence this.",
        RuntimeWarning,
        stacklevel=2,
    )
