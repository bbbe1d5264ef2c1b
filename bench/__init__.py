"""Benchmarks: what the gateway costs beside nginx and Envoy, and what its decisions cost alone. See README.md.

Knows the package only from outside: it starts `penstock serve` like anybody. `core_cost` alone turns the Gate itself.
"""
