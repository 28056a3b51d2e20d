"""Receivers that are right, but built unusually, and for each a mutant with a bug that the checks must find."""
