"""Getting a callback to a receiver, and keeping what came of it."""
