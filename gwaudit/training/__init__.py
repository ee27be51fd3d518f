"""Train a network with a recorder at its head: the reference trainer, its models, and rounds of refinement.

Comes in: `analysis` (stopping rules, rankings to refine from), `recording`, `data`, `store`. Stays out: `export` to
files and
`review` by people.
"""
