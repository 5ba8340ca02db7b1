"""`resrepro bench`: measured speed."""
