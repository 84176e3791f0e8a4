"""One AWS concern each: a block makes the resources of a network, a bucket, a pool, and gives their names back."""
