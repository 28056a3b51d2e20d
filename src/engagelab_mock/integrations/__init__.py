"""Ways to reach EngageLab without a socket, for libraries that are optional: nothing else imports them."""
