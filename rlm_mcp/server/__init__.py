"""The MCP server. The only package that imports `mcp`."""
