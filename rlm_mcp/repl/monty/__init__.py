"""The guest that runs cells in Monty, a Python interpreter in which nothing else can be reached."""
