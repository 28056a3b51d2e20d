"""A gallery of receivers: a correct one, and mutants of it with one bug each."""
