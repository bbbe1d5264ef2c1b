"""Limits: what tenants, keys and models may use, held at admission and settled at the end [L]. A part of the Gate."""
