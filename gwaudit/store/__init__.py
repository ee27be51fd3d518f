"""Keep what a run recorded in one folder of Parquet files: create, append an epoch, commit, resume, read, verify.

Comes in: `core`, pyarrow, pandas. Stays out: torch, data sets, networks. The store holds arrays by row and does not
interpret them.
"""
