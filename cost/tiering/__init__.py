"""S3 tiering: the cheapest lifecycle for each prefix, size and age under every fee, or why none pays."""
