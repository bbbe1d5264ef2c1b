"""Floor 1: what an engine replica does with time and memory. Pure: no clock, no sockets, no text, only counts.

The Batcher is one machine; the emulator drives it by an event loop, a simulator by virtual time.
"""
