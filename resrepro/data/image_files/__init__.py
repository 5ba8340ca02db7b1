"""Photographs of any size, read from files."""
