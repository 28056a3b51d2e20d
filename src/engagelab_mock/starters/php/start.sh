# A server for development: in production, PHP-FPM runs the file.
echo "http://127.0.0.1:${PORT:-8080}/engagelab"
exec php -S "127.0.0.1:${PORT:-8080}" receiver.php
