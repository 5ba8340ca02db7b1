"""Datasets, and the mini-batches drawn from them."""
