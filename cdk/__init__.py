"""The AWS infrastructure: one typed environment file, synthesised to Terraform JSON, planned, judged, approved, applied."""
