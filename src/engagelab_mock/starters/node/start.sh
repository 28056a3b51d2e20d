exec node app.mjs
