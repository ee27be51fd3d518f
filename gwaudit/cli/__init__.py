"""Parse what is typed, call the pipeline, print the result.

May import every package. Must not be imported by another package, nor hold logic that Python users need too.
"""
