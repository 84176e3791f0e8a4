"""Admission policies of the clusters: what an API server refuses, whoever asks."""
