"""Compilers of other makers' chips, each a program of its maker's: driven where it is installed, never pretended."""
