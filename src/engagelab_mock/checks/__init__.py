"""Checks of a receiver, in families. The sender sends all callbacks; answers and states decide the verdicts."""
