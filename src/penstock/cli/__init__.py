"""Floor 6: what people type. One file a command; each only turns words into a call of the floors below, and back."""
