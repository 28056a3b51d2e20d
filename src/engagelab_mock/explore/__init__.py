"""Every order, every duplicate, every crash: schedules, what must hold in all of them, and the one that fails."""
