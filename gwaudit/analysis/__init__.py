"""Turn recorded trajectories into an audit: statistics, detectors, error probabilities, ranking, evaluation, stopping.

May import `core`, `store`, and the formulas of `recording`. Must not train, write files for people (`export`) or
serve pages (`review`). Ranking and evaluation must not import torch.
"""
