"""Transports to a receiver: HTTP, or WSGI and ASGI in process."""
