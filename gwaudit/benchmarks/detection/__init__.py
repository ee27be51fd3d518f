"""Measure which detector finds the most label errors, and at what cost."""
