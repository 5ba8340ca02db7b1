"""Compute blocks on the CPU in kernels of our own."""
