"""The unknown of a problem: which matrices are searched, and by which factors.

`base.py` has the contract, general matrices and symmetric ones. A search asks its
unknown for every point that it makes and for all that depends on the kind of matrix, so
that it never asks which kind that is.
"""
