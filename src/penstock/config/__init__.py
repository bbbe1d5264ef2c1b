"""Floor 4: one YAML file, every mistake at once, and the settings that the bodies are built from."""
