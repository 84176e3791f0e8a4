"""The thin commands over the Ray jobs, one file each."""
