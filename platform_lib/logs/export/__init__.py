"""Taking streams out of a log: to Parquet and CSV tables, and from MDF to MCAP."""
