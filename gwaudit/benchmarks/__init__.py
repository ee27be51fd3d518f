"""Measure what gwaudit finds and costs, one package or module a question.

May import every package but `cli`. Must not be imported by a package below it. Ground truth is used for scoring only.
"""
