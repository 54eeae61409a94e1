"""Ray itself: join or start it, spread jobs, submit."""
