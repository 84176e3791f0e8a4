"""Personal data in frames: which state they are in, where the raw ones lie, how they are blurred, and how well."""
