"""Evaluations that need no downloads: generated texts and questions, their gold, their scorers."""
