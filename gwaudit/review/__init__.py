"""Let people decide about suspects, check their decisions, and apply them to labels.

Comes in: `export`, `analysis`, `data`, `store`. Stays out: training. `report` writes the page, `server` serves it.
"""
