"""Linear algebra that knows nothing of measurements, losses or estimators."""
