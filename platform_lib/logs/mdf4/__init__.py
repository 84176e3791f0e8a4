"""A reader of MDF 4 (4.00 to 4.3) of our own: blocks, data streams, record layouts, conversions."""
