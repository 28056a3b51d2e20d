"""What can go wrong with a callback on purpose: named, composable, seeded."""
