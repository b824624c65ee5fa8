"""The only module that touches private or version-dependent scikit-learn names."""

from __future__ import annotations

import sys
from typing import Any

from sklearn.base import _fit_context as fit_context
from sklearn.utils._param_validation import (
    Interval,
    MissingValues,
    Options,
    StrOptions,
)
from sklearn.utils._set_output import ADAPTERS_MANAGER, _get_output_config

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # Before scikit-learn 1.9 there are no callbacks to set.

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in for scikit-learn's mixin, and adds nothing."""


def output_container(estimator: object) -> str:
    """The container that `set_output` or the configuration asks of `transform`."""
    return str(_get_output_config("transform", estimator)["dense"])


def in_container(estimator: Any, values: Any, X: Any, names: Any) -> Any:
    """An array as `set_output` or the configuration asks, as `transform` returns it.

    Parameters
    ----------
    estimator : BaseEstimator
    values : ndarray of shape (n_rows, n_columns)
    X : matrix
        What the user gave, whose index a data frame keeps.
    names : array-like of shape (n_columns,)
    """
    container = output_container(estimator)
    if container == "default":
        return values
    adapter = ADAPTERS_MANAGER.adapters[container]
    return adapter.create_container(values, X, columns=names)


def is_asked_by_scikit_learn() -> bool:
    """Whether the method that calls this was called by scikit-learn's searches.

    What a splitter yields is for rows there, and nothing else tells who asks: the
    arguments are the same as those of a user's own loop over the splits.
    """
    module = str(sys._getframe(2).f_globals.get("__name__", ""))
    return module.startswith("sklearn.model_selection.")


def validate_params(estimator: Any) -> None:
    """Raise `InvalidParameterError` where a constructor parameter is not allowed."""
    estimator._validate_params()


def new_callback_context(estimator: Any) -> Any:
    """The context that informs callbacks of a new fit; None before scikit-learn 1.9."""
    if not hasattr(estimator, "_init_callback_context"):
        return None
    # The number of iterations is not known: a refit has max_iter of its own.
    return estimator._init_callback_context(max_subtasks=None)


def callback_context(estimator: Any) -> Any:
    """The context of the running fit; None if the estimator has no callbacks."""
    told = bool(getattr(estimator, "_skl_callbacks", ()))
    return getattr(estimator, "_callback_fit_ctx", None) if told else None


__all__ = [
    "CallbackSupportMixin",
    "Interval",
    "MissingValues",
    "Options",
    "StrOptions",
    "callback_context",
    "fit_context",
    "in_container",
    "is_asked_by_scikit_learn",
    "new_callback_context",
    "output_container",
    "validate_params",
]
