"""Right-sizing: what containers request against what they use, GPU pools against their duty, nodes against their pods."""
