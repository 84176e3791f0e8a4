"""Datasets of other tools: what comes in as samples, and what goes out for others to read."""
