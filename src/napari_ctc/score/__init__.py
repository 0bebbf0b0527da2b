"""Scores, intervals and what a probability is worth. Never torch."""
