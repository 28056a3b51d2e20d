"""EngageLab itself: one state per instance."""
