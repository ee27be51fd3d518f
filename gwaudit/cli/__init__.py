"""Parse what is typed, call the pipeline, print the result. No logic.

Comes in: everything. Stays out: nothing imports the command line.
"""
