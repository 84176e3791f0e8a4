"""What runs in the clusters: typed Kubernetes objects made from an environment, and three doors that bring them there."""
