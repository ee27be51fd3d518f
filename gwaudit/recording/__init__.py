"""Compute alignment while a network trains, and record it in a store.

Comes in: `core`, `data`, `store`, torch. Stays out: how the network is trained (`training`), and what the recorded
values
say about labels (`analysis`). `lightning`, `transformers` and `keras` import their own library, and no module imports
them.
"""
