"""What is on the wire: pure and frozen, no I/O, no clock."""
