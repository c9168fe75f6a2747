"""The families of evaluations, a file each; a family is found by its file's name."""
