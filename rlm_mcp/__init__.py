"""Recursive Language Models over text far larger than any window, on a model of your own."""
