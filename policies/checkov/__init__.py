"""The rules as checkov's custom checks. Without this file checkov would load nothing of this folder, and say nothing."""
