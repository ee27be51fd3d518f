"""Write the report of a run: one HTML file to look at, to decide in and to send, and its figures as files.

May import `core`, `data`, `store` and `analysis`. Must not serve pages or keep decisions.
"""
