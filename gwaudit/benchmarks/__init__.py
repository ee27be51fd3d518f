"""Measure what gwaudit finds and costs, one package or module a question.

Comes in: every package below. Stays out: nothing below imports a benchmark; ground truth is used for scoring only.
"""
