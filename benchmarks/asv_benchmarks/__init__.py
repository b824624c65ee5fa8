"""Timings that asv follows from commit to commit; see ``benchmarks/README.rst``."""
