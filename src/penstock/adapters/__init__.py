"""Floor 3, the adapters: how the outside speaks. Each knows one outside thing and base; none decides anything."""
