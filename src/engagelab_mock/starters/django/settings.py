import os

# The credentials of the callback settings. Without them, the app does not start.
ENGAGELAB_USERNAME = os.environ["ENGAGELAB_WEBHOOK_USERNAME"]
ENGAGELAB_SECRET = os.environ["ENGAGELAB_WEBHOOK_SECRET"]
SECRET_KEY = "not a secret"
ROOT_URLCONF = "shop.views"
INSTALLED_APPS = ["shop"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "shop.sqlite3",
        "TEST": {"NAME": "test.sqlite3"},
        "OPTIONS": {"transaction_mode": "IMMEDIATE"},  # SQLite cannot lock a row
    }
}
