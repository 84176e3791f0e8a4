"""One page about the cost: where the money goes, what would save, what is refused."""
