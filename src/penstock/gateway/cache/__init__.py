"""Answers that several calls get: shared while they come, kept, looked up elsewhere, compared by their questions."""
