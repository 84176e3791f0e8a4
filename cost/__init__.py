"""What the platform costs: decided before it is spent, with the source and the date of every price."""
