"""Load with a ledger: send callbacks at a rate, and find those that the receiver lost, doubled or regressed."""

#: The environment variable in which the command gives Locust the attributes of its user class, as JSON.
ATTRIBUTES = "ENGAGELAB_MOCK_LOAD"
