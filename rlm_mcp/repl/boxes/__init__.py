"""Boxes a guest runs in: one module a platform or means."""
