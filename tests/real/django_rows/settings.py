"""The settings of a Django project whose views write a row for each callback."""

import os

SECRET_KEY = "not secret"
ROOT_URLCONF = "tests.real.django_rows.views"
ALLOWED_HOSTS = ["testserver"]
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["ROWS_DATABASE"],
        "TEST": {"NAME": os.environ["ROWS_DATABASE"]},
        "OPTIONS": {"transaction_mode": "IMMEDIATE"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
