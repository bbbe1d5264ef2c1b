"""How engines speak beside the OpenAI API: where their health and metrics are, and how to read them.

Pure: bytes in, facts out (`base.ports.Dialect`). The page comes from a replica, which may be broken or hostile: reading
is bounded, and raises nothing but ValueError.
"""
