"""Measure which stopping rule selects the best epoch, with and without validation data."""
