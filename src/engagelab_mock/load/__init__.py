"""Load with a ledger: send callbacks at a rate, and find those that the receiver lost, doubled or regressed."""
