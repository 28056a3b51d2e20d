"""A receiver that passes every check, and mutants of it that fail one each, on any framework."""
