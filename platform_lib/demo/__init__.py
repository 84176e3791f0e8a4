"""The guided way through the house: every stage is a command that a person could type."""
