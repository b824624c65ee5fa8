"""Data in chunks: dask arrays and data frames, beyond the memory of one machine."""

from skprecgd.distributed._graph import Traffic, count_traffic

__all__ = ["Traffic", "count_traffic"]
