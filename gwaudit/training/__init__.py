"""Train a network with a recorder on its head: the reference trainer, its networks, and rounds of refinement.

May import `core`, `data`, `store`, `recording`, and `analysis` (stopping rules, and rankings to refine from). Must not
write files for other tools (`export`), nor let people decide (`review`).
"""
