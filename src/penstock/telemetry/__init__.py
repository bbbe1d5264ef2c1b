"""Floor 3, telemetry: readers of the journal, and how their numbers are shown. No machine imports any of it."""
