"""Django's settings, which a process has once: all tests that use Django in this process share these."""

from __future__ import annotations


def configure() -> None:
    """Configure Django for this process, with a database in memory; a second call does nothing.

    The database has to be there for the tests that use one, in any order of the tests.
    """
    import django
    from django.conf import settings  # at the top, pytest's doctest collection would ask it for attributes

    if not settings.configured:
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        settings.configure(SECRET_KEY="tests", DATABASES={"default": database}, LOGGING_CONFIG=None)
        django.setup()
