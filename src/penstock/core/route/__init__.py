"""Routing: filters keep, scorers score 0..1, one picker picks; the named strategies are presets of them."""
