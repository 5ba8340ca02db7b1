"""Kernels of our own for the CPU."""
