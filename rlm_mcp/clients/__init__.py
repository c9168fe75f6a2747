"""MCP clients on this machine: where they keep their servers, and whether ours works there."""
