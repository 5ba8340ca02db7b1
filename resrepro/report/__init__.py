"""Paper against ours on one page, from `results/` alone. Imports no torch."""
