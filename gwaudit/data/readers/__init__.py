"""Read sources, one module a kind of source: each recognises its kind and reads it into `RawSamples`.

Comes in: the modules of `gwaudit.data` that describe inputs and labels. Stays out: `gwaudit.data.loading`, which calls
the
readers.
"""
