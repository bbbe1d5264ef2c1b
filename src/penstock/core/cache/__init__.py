"""The cache, as the Gate decides about it: which answers may be used again, under which key, and for how long."""
