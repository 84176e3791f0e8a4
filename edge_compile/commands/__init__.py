"""The thin commands over the edge compiler, one file each."""
