"""How a message lives: from accepted to verified, or to one of its failures."""
