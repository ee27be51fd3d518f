"""Load a source of any kind as a `LabeledDataset`: inputs, given labels, stable ids and keys, and a fingerprint.

May import `core`. Must not hold runs (`store`), networks or training. The reader of a new kind of source goes to
`gwaudit.data.readers`.
"""
