"""Message definitions, and payloads decoded by them into Arrow columns."""
