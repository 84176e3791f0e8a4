"""Traffic between zones: who sends how much to whom, what that costs, and where things would better run."""
