"""A model server of our own: llama.cpp's, in a child process, for whoever has a model file only."""
