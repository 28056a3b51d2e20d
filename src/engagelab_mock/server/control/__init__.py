"""The control API under /_mock: what the vendor has no API for."""
