"""Several processes on one machine: a parent, its workers, and what they tell each other."""
