"""Turn a source of any kind into a `LabeledDataset`: inputs, given labels, stable ids and keys, a fingerprint.

May import `core`. Must not hold runs (`store`), networks or training. The reader of a new kind of source goes to
`gwaudit.data.readers`.
"""
