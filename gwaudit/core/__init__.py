"""Hold what every other package may use: errors, settings, files, JSON, spreadsheets, safe names.

Comes in: only the standard library, numpy and filelock. Stays out: torch and pandas (so that `gwaudit --help` is
fast), and
every other package of gwaudit.
"""
