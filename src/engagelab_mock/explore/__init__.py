"""Play a message's callbacks in every order, with duplicates, faults and batches, and find the schedule that fails."""
