"""Erasing drives, times and places from everything a home holds, and proving it."""
