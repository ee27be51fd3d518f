"""Measure which stopping rule keeps the best epoch, with and without validation data."""
