"""Compute alignment while a network trains, and record it in a store.

May import `core`, `data`, `store` and torch. Must not hold how the network is trained (`training`), nor what the
recorded values say about labels (`analysis`). `lightning`, `transformers` and `keras` import the library of their name,
and no module imports them.
"""
