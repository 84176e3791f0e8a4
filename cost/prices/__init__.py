"""What AWS asks for: dated snapshots that never change, each row with its source; what they lack is unknown."""
