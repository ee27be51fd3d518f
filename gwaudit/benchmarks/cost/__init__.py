"""Measure what recording costs a training step, and what ranking costs a large run."""
