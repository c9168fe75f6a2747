"""MCP clients on this machine: where they keep their servers, and whether ours works there."""

# What our server is called in clients, unless the user wants another name.
NAME = "rlm"
