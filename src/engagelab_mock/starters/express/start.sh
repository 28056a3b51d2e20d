[ -d node_modules ] || npm install
exec node app.mjs
