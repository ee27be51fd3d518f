"""Build data sets, runs and audits, and run commands and ranks, for the tests."""
