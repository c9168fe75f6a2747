"""Loaded text: sources are read, decoded and stored as immutable snapshots."""
