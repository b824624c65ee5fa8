"""Data in chunks: dask arrays and data frames, beyond the memory of one machine.

The estimators take dask collections as they are; see the chapter on large data in the
user guide.
"""

from skprecgd.distributed._graph import Traffic, count_traffic
from skprecgd.distributed._measurements import ChunkedMeasurements

__all__ = ["ChunkedMeasurements", "Traffic", "count_traffic"]
