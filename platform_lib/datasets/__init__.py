"""Training samples: what a frame is joined with, how drives are split, and the proof that splits share nothing."""
