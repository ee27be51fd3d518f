"""Compute alignment while a network trains, and record it in a store.

May import `core`, `data`, `store` and torch. Must not train (`training`), nor judge labels by the recorded values
(`analysis`). `lightning`, `transformers` and `keras` import the library of their name; no other module imports them.
"""
