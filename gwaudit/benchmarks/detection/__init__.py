"""Measure which detector finds the most label errors from one training run."""
