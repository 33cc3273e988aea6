"""Runs: each file is one kind of run from a config to its results, in one straight line."""
