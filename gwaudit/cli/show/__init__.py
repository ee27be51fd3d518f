"""Show results and progress in a terminal.

May import results of the pipeline, for their types. Must not import torch, run a server or compute a result.
"""
