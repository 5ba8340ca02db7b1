"""Looking into nets: layer responses, gradient norms, the constructed solution."""
