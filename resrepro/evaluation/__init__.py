"""Measuring trained nets."""
