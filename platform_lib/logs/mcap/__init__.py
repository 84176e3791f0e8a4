"""MCAP: records, chunks, the file's layout, and its rows in time order."""
