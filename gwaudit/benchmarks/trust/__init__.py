"""Measure whether an audit can be trusted: many kinds of data, with errors of known kinds and rates, against cleanlab.

Some of the data sets may be used to choose defaults and thresholds (`chosen`), the others only test (`test`).
"""
