"""A receiver that passes every check, and mutants of it that each fail one check, on any framework."""
