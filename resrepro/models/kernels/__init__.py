"""Compute the layers of blocks in kernels of our own."""
