"""The ways to a receiver: over HTTP, or in process through WSGI or ASGI."""
