"""Networks and their units on disk."""
