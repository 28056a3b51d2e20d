"""EngageLab's REST API, as calls: a request in, an answer out, whatever carries them."""
