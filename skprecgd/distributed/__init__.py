"""Data in chunks: dask arrays and data frames, beyond the memory of one machine.

The estimators accept dask collections; see the chapter on large data in the user guide.
"""

from skprecgd._runtime.dask_kinds import is_dask
from skprecgd.distributed.graph import Traffic, count_traffic
from skprecgd.distributed.measurements import ChunkedMeasurements, chunked_stack
from skprecgd.distributed.triples import collection_entries
from skprecgd.measurements.readers import READERS, Reader

READERS.append(Reader(is_dask, chunked_stack, collection_entries))

__all__ = ["ChunkedMeasurements", "Traffic", "count_traffic"]
