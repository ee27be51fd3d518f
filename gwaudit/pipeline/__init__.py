"""Run whole tasks, one module a verb, for the command line and for Python alike.

Comes in: every package below. Stays out: the command line (`cli`), what a terminal shows, and benchmarks.
"""
