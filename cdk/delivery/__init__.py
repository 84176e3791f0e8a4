"""From synthesised stacks to applied ones: plan, judge, approve, apply, look for drift."""
