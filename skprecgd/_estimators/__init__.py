"""The estimators: what scikit-learn sees."""
