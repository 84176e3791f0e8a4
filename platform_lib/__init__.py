"""What every room of the house shares: logs, lake, catalogue, time, models, evaluation, hand-over."""
