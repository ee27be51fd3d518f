"""Show results and progress in a terminal.

Comes in: results of the pipeline, for their types. Stays out: torch, servers, and anything that computes a result.
"""
