"""Integrations with optional libraries; no other module imports them."""
