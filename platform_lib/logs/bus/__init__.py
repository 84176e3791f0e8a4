"""Frames of CAN, CAN FD and LIN buses -> signals, by the databases that describe them."""
