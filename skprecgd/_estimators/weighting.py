"""Weights that users give: how often a measurement was made, and how noisy it is."""

from __future__ import annotations

import warnings
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_array

from skprecgd._linalg.containers import marked, unmasked
from skprecgd._runtime.dask_kinds import is_dask_array
from skprecgd._runtime.typing import Array
from skprecgd.distributed.graph import in_memory
from skprecgd.distributed.rows import as_dask_array
from skprecgd.objective import Weights


def read_weights(
    frequency: Any, noise_variance: Any, n: int, name: str = "sample_weight"
) -> Weights:
    """Weights of `n` measurements, from what a user gives.

    Parameters
    ----------
    frequency : array-like of shape (n,), number or None
        How often each measurement counts; a number counts for all of them. A dask array
        stays lazy unless some of it is zero.
    noise_variance : array-like of shape (n,), number, str or None
        Only an array says how precise each measurement is.
    n : int
    name : str, default="sample_weight"
        Name of the frequency in messages.

    Raises
    ------
    ValueError
        If a length is wrong, a frequency negative or not finite, all of them zero, or a
        variance not positive and finite.
    """
    often = None if frequency is None else _checked(frequency, n, name)
    if often is not None:
        least, most = _range(often)
        _check_range(least, most, name)
        if least == most == 1.0:
            often = None
        elif most < 1.0:
            _warn_about_shares(most, name)
    if not has_variances(noise_variance):
        return Weights(frequency=often)
    variance = np.asarray(*in_memory(_checked(noise_variance, n, "noise_variance")))
    if not (np.all(np.isfinite(variance)) and np.all(variance > 0)):
        raise ValueError(
            "noise_variance must hold positive, finite numbers, one for each "
            f"measurement; it runs from {np.min(variance):g} to {np.max(variance):g}."
        )
    return _precise(often, variance)


def has_variances(noise_variance: Any) -> bool:
    """Whether the value of `noise_variance` has a number for each measurement."""
    return not (
        noise_variance is None
        or isinstance(noise_variance, str)
        or is_number(noise_variance)
    )


def checked_numbers(values: Any, name: str, **options: Any) -> Any:
    """An array of real numbers, from anything that scikit-learn takes for one.

    Parameters
    ----------
    values : array-like
    name : str
        Begins the message if it is none.
    **options
        Of `sklearn.utils.check_array`.
    """
    options = {"ensure_2d": False, "dtype": np.float64, "input_name": name, **options}
    if isinstance(values, np.ma.MaskedArray) and values.ndim == 1:
        values = unmasked(values, name)
    try:
        # Of sparse numbers, those count that are stored.
        marker = 0.0 if sparse.issparse(values) else np.nan
        return check_array(marked(values, marker).matrix, **options)
    except (TypeError, ValueError) as error:
        if name in str(error):
            raise
        raise ValueError(
            f"{name} must hold real numbers, one for each measurement, got "
            f"{type(values).__name__}: {str(error).splitlines()[0]}"
        ) from error


def is_number(values: Any) -> bool:
    """Whether the values are a single number, an array of no dimension included."""
    return isinstance(values, Real) or getattr(values, "shape", None) == ()


def positive(weights: Weights) -> Array | None:
    """Mask of the measurements of positive frequency; None if all of them are."""
    often = weights.frequency
    if often is None or _range(often)[0] > 0:
        return None
    return np.asarray(*in_memory(often)) > 0


def _checked(values: Any, n: int, name: str) -> Any:
    """One number for each measurement, lazy if given so."""
    if is_dask_array(values):
        values = as_dask_array(values, 1, name=name)
        values = values.map_blocks(partial(unmasked, name=name), dtype=values.dtype)
    elif is_number(values):
        values = np.full(n, values, dtype=np.float64)
    else:
        values = checked_numbers(values, name)
    if values.shape != (n,):
        raise ValueError(
            f"{name} must hold one number for each of the {n} samples, got shape "
            f"{values.shape}."
        )
    return values


def _check_range(least: float, most: float, name: str) -> None:
    # The comparison is false for nan, too.
    if not (least >= 0 and 0 < most < np.inf):
        raise ValueError(
            f"{name} must be finite and not negative, nor zero everywhere; it runs "
            f"from {least:g} to {most:g}."
        )


def _warn_about_shares(most: float, name: str) -> None:
    """Warn of weights that are no numbers of times, such as shares of one."""
    warnings.warn(
        f"{name} says how often a measurement was made, and no weight is above "
        f"{most:.3g}, so the data count as fewer measurements than there are; if the "
        "weights only say which measurements matter more, divide them by their mean.",
        UserWarning,
        stacklevel=2,
    )


def _range(values: Any) -> tuple[float, float]:
    if not len(values):
        return 1.0, 1.0
    least, most = in_memory(values.min(), values.max())
    return float(least), float(most)


def _precise(often: Any, variance: Array) -> Weights:
    """Weights of measurements whose noise is known.

    The unit is the harmonic mean of the variances, so that the precisions have mean
    one: then the sum of the squared residuals, each times its precision, has the
    expectation that the same number of measurements with noise of that variance have.
    """
    counted = None if often is None else np.asarray(*in_memory(often))
    # In units of the smallest, because the inverse of a small number may overflow.
    least = float(np.min(variance))
    share = float(np.average(least / variance, weights=counted))
    unit = least / share
    precision = None
    if least < np.max(variance):
        precision = (least / variance) / share
    return Weights(often, precision, unit)
