"""Type aliases shared by the package."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
"""A NumPy array of any numeric dtype; the shape stands in the docstring."""

RandomState = int | np.random.RandomState | None
"""What scikit-learn accepts as ``random_state``."""
