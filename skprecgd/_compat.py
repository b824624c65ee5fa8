"""The only module that touches private or version-dependent scikit-learn names."""

from __future__ import annotations

from sklearn.base import _fit_context as fit_context
from sklearn.utils._param_validation import Interval, Options, StrOptions

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # Before scikit-learn 1.9 there are no callbacks to set.

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Adds nothing."""


__all__ = ["CallbackSupportMixin", "Interval", "Options", "StrOptions", "fit_context"]
