"""Data contracts: what each data product promises, in ODCS 3.1, and whether the lake keeps it."""

CHECKS_VERSION = 1
"""Changes whenever the same file would be judged otherwise; files judged by another version are judged again."""
