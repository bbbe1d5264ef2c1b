"""The Gate: every decision about a call. Pure: no I/O, no clock, no randomness of its own; runs live and simulated.

`events` and `effects` are its two closed vocabularies. `gate` takes each fact through the parts in a fixed order:
limits, cache, queue, route, attempts, health; each part is one file that owns its state and its spec.
"""
