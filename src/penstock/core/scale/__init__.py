"""The Governor and its parts: how many replicas a pool should have, and the life of each that it runs. Pure: facts in,
orders out. It knows nothing of calls, and of the Gate only what a window of a pool's load says.
"""
