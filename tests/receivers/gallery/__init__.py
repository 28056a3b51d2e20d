"""Receivers with a state to look at: one that is right, on three stacks, and one for each bug."""
