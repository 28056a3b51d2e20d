"""Fixtures shared by the whole suite live in tests/conftest.py; this file puts the root on the path."""
