// A server whose routes load something late, each in another way.
const http = require("node:http");

const routes = {
  own: async () => require("./lib/own.js").name,
  computed: async () => require("./lib/" + ["o", "wn"].join("") + ".js").name,
  module: async () => require("semver").inc("1.2.3", "minor"),
  fetch: async () => (await fetch("http://127.0.0.1:8000/")).text(),
  crypto: async () => require("node:crypto").createHash("sha256").update("x").digest("hex"),
  date: async () => new Intl.DateTimeFormat("de-DE", { weekday: "long", timeZone: "Asia/Tokyo" })
    .format(new Date(0)),
  spawn: async () => require("node:child_process").execFileSync("sort", { input: "b\na\n" }).toString(),
  shell: async () => require("node:child_process").execSync("printf x | wc -c").toString(),
  esm: async () => (await import("./lib/module.mjs")).name,
  lookup: async () => (await require("node:dns/promises").lookup("localhost", { family: 4 })).address,
};

http.createServer(async (request, response) => {
  const route = routes[request.url.slice(1)] || (async () => "hello");
  try {
    response.end(await route());
  } catch (error) {
    response.statusCode = 500;
    response.end(String(error));
  }
}).listen(8000);
process.on("SIGTERM", () => process.exit(0));
