"""The lake: signals in an Iceberg table, samples in a Lance dataset, made visible by one row of the catalogue."""
