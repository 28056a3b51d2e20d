"""The protocol: the data on the wire, without I/O or clock."""
