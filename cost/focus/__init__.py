"""Showback: who paid for what, as FOCUS 1.2, with idle accelerators as a line of their own."""
