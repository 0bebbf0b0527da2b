"""Classifiers at work: predictions for folders, and how good they are."""
