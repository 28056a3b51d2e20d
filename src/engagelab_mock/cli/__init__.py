"""The command line; `main` is imported by the console script."""
