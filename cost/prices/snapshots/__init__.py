"""The snapshots of this release, one file a day, and their digests."""
