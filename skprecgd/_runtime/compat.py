"""The only module that touches private or version-dependent scikit-learn names."""

from __future__ import annotations

from sklearn.base import _fit_context as fit_context
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils._set_output import _get_output_config

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # Before scikit-learn 1.9 there are no callbacks to set.

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Adds nothing."""


def output_container(estimator: object) -> str:
    """What `set_output`, or the configuration, makes of the result of `transform`."""
    return str(_get_output_config("transform", estimator)["dense"])


__all__ = [
    "CallbackSupportMixin",
    "Interval",
    "Options",
    "StrOptions",
    "fit_context",
    "output_container",
]
