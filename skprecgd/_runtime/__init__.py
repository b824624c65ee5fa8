"""Threads, reused arrays, optional packages, scikit-learn's versions, type aliases."""
