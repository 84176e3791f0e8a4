"""Day two: pipelines, entry for people, version steps, scans, drills. What is applied is `cdk.delivery`'s."""
