"""Training under the paper's recipe."""
