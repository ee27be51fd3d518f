"""Hold what every other package uses: errors, settings, files, JSON, spreadsheets, safe names.

May import the standard library, numpy, pandas and filelock. Must not import torch, so that `gwaudit --help` is fast,
nor any other package of gwaudit.
"""
