"""Write an audit in the formats of other tools, one module a format; `formats` registers them.

May import `core`, `data`, `store` and `analysis`. Must not train, nor hold decisions of people (`review`), nor import
the library of a tool: the formats are JSON, XML, CSV, zip and Parquet.
"""
