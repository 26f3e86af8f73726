"""What a request costs, counted and not timed: the same number on every machine."""
