"""Variational Bayes: noise and prior variances learned from the data."""
