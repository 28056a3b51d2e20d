"""Send a callback to a receiver, and keep a record of the outcome."""
