"""Experiment tracking: MLflow on the platform's own PostgreSQL, never over a network."""
