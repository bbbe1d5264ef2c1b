"""Floor 0: what everybody may know. Nouns, errors, the shape of a machine, ports, registry, randomness, units."""
