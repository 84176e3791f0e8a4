"""PostgreSQL metadata: drives, files, ingests, quarantine, artefacts and the edges between them."""
