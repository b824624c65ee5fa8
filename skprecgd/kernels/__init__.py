"""Products of two thin factors sampled on a pattern of cells."""

from skprecgd.kernels._numpy import sampled_product, sampled_ray

__all__ = ["sampled_product", "sampled_ray"]
