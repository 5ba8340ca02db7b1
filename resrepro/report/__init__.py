"""Set the paper's numbers beside ours on one page, from `results/` alone. Imports no torch."""
