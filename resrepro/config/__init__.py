"""What an experiment declares: architectures, datasets, recipes, runs, figures, claims. Imports no torch."""
