"""Measure what decisions of reviewers, simulated on audits with known errors, teach an audit."""
