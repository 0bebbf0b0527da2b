"""Specimens, tables of them, and what is read from and written to disk. Never torch."""
