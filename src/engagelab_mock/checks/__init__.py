"""Judging a receiver: checks in families, each sent through the one sender and judged by answers and by state."""
