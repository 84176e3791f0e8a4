"""What leaves the platform: the handoff manifest, the bill of materials, the signature, and the offline verification."""
