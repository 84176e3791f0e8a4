"""The chips a model can be compiled for, as a table that names what is confirmed and what is a guess."""
