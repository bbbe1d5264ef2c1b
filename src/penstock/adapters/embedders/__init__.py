"""Where questions get their vectors from [C4]: `base.ports.Embedder`. A model that the gateway itself serves is asked
by the gateway, not from here.
"""
