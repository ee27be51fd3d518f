"""Write the report of a run: one HTML file to look at, to decide in and to send, and its figures as files.

Comes in: `analysis`, `store`, `data`. Stays out: the HTTP server and the log of decisions.
"""
