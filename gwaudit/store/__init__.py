"""Keep what a run recorded in one folder of Parquet files: create, append an epoch, commit, resume, read, verify.

May import `core`, pyarrow and pandas. Must not import torch, nor hold data sets or networks: the store keeps arrays
by row.
"""
