"""The arithmetic of the interactive loop: measure, learn from each label, say what to look at next."""
