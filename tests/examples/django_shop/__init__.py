"""A Django project with a receiver that passes the checks: the official SDK verifies, the ORM keeps."""
