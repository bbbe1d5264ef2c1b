"""The side doors: the admin API and metrics, for people and scripts."""
