"""Draw figures from CSV and JSON alone, without torch. Empty, so that `watch` has the palette without matplotlib."""
