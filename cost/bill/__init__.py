"""What was really paid: AWS's exports, and the same beside what was planned."""
