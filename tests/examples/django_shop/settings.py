"""The settings of the project, as far as the receiver needs them."""

import os

SECRET_KEY = "not a secret"
ALLOWED_HOSTS = ["testserver"]
ROOT_URLCONF = "tests.examples.django_shop.views"
INSTALLED_APPS = ["tests.examples.django_shop"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DATABASE", "shop.sqlite3"),
        # SQLite has no SELECT … FOR UPDATE: a transaction waits here for the one before it.
        "OPTIONS": {"transaction_mode": "IMMEDIATE"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
