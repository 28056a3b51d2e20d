"""Real sockets: the only part that knows Werkzeug."""
