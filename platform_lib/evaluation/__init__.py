"""Scores for planners: open loop against recorded drives, closed loop in the simulator, and tests of the scorer itself.

Everything here is pure: arrays in, numbers out.
"""
