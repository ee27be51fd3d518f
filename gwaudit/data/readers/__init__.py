"""Read sources into `RawSamples`, one module for each kind of source.

Each module has `recognises(source, settings)` and `read(source, settings)`, and one line in `READERS` of
`gwaudit.data.loading`. Allowed to import: `core`, and the modules of `gwaudit.data` that describe inputs and labels.
Not allowed: `gwaudit.data.loading`, which calls the readers.
"""
