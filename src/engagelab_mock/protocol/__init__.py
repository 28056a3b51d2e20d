"""The protocol: what goes over the wire. Pure data without I/O or clock."""
