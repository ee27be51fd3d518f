"""Let people decide about suspects, check their decisions, and apply them to labels.

May import `core`, `data`, `store`, `analysis` and `export`. Must not train. `report` writes the page, `server` serves
it.
"""
