"""Hold what every other package may use: errors, settings, files, JSON, spreadsheets, safe names.

Comes in: only the standard library, numpy and filelock; pandas in `spreadsheets` alone, which the command line imports
late. Stays out: torch (so that `gwaudit --help` is fast) and every other package of gwaudit.
"""
