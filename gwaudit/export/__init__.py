"""Write an audit in the formats of other tools, one module a format; `formats` registers all of them.

Comes in: `analysis`, `data`. Stays out: training, decisions of people (`review`), and the libraries of these tools: the
formats are plain JSON, XML, CSV and Parquet.
"""
