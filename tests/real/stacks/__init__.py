"""Receivers behind the servers people run them on, and what reaches them there."""
