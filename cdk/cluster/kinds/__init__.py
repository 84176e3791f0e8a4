"""Kubernetes objects as types: a field that its API does not have fails when the object is made."""
