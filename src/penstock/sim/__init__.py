"""The simulator: the production Gate, unchanged, over engine models in virtual time. Pure; text comes out, files are
the cli's business.

`cloud` is what the Gate's orders meet (engines, networks, faults; beside it `prompts` and `benchmark`), `clients` who
sends and leaves, `lifecycle` who is in the fleet, `run` one run of one policy with one seed, `tally` what came out of
it, `compare` many runs side by side, `report` the page for people.
"""
