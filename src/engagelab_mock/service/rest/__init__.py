"""EngageLab's REST API, without a server: it takes a request and returns an answer."""
