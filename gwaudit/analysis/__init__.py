"""Turn recorded trajectories into an audit: statistics, detectors, error probabilities, ranking, evaluation, stopping.

Comes in: `store` and `recording`'s formulas. Stays out: training, files for people (`export`), pages and servers
(`review`).
Ranking and evaluation need no torch.
"""
