"""Turn a source of any kind into a `LabeledDataset`: inputs, given labels, stable ids and keys, a fingerprint.

Comes in: `core`. Stays out: runs and stores (`store`), networks and training. A reader of a new kind of source goes to
`gwaudit.data.readers`.
"""
