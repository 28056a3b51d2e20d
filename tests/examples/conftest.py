"""What pytest should not collect."""

# Django's models cannot be imported before a project is configured: `test_howto_django.py` runs it as a program.
collect_ignore = ["django_shop"]
