"""Run whole tasks, one module a verb, for the command line and for Python.

May import every package but `benchmarks` and `cli`. Must not parse what is typed or print to a terminal.
"""
