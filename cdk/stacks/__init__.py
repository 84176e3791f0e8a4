"""What is planned and applied as one: a stack is one account, one region and one state."""
