// A client of the TypeScript SDK that asks one question, as hosts built on it do.
// node drive.mjs '{"sdk": "v1" or "v2", "url": URL or "command": [...], "wait_s": S, "timeout_ms": MS}'
// `wait_s` and `timeout_ms` may be left out: the server's own wait and the SDK's own time-out hold.
// Each line it prints is one call: the tool, what came of it, and after how many milliseconds.

const SDKS = {
  v1: [
    "@modelcontextprotocol/sdk/client/index.js",
    "@modelcontextprotocol/sdk/client/stdio.js",
    "@modelcontextprotocol/sdk/client/streamableHttp.js",
  ],
  v2: [
    "@modelcontextprotocol/client",
    "@modelcontextprotocol/client/stdio",
    "@modelcontextprotocol/client",
  ],
};
const asked = JSON.parse(process.argv[2]);
const [{ Client }, { StdioClientTransport }, { StreamableHTTPClientTransport }] = await Promise.all(
  SDKS[asked.sdk].map((name) => import(name)),
);

const transport = asked.url
  ? new StreamableHTTPClientTransport(new URL(asked.url))
  : new StdioClientTransport({
      command: asked.command[0],
      args: asked.command.slice(1),
      env: process.env,
      stderr: "ignore",
    });
const client = new Client(
  { name: "drive", version: "1" },
  asked.sdk === "v2" ? { versionNegotiation: { mode: "auto" } } : {},
);
const own = asked.timeout_ms && { timeout: asked.timeout_ms };
const wait = asked.wait_s === undefined ? {} : { wait_s: asked.wait_s };

async function call(name, args, options) {
  const began = Date.now();
  let line = { tool: name };
  try {
    const result =
      asked.sdk === "v1"
        ? await client.callTool({ name, arguments: args }, undefined, options)
        : await client.callTool({ name, arguments: args }, options);
    line = { ...line, isError: result.isError ?? false, result: result.structuredContent };
  } catch (error) {
    line = { ...line, thrown: error.message };
  }
  console.log(JSON.stringify({ ...line, ms: Date.now() - began }));
  return line;
}

await client.connect(transport);
const loaded = await call("load_context", { text: "alpha", name: "greek" });
const session = loaded.result.session;
let line = await call("rlm_query", { query: "?", session, ...wait }, own);
while (line.result?.status === "running") {
  line = await call("get_answer", { run_id: line.result.run_id, ...wait }, own);
}
if (line.thrown) await call("get_costs", { scope: "session", id: session });
await client.close();
