import { parse, print } from "graphql";

/** A trace as it is drawn: each fetch of the plan with what became of it, and where it stands. */
export function readTrace(trace) {
  const performed = new Map();
  for (const fetch of trace.fetches) if (!performed.has(fetch.id)) performed.set(fetch.id, fetch);
  const depth = new Map();
  const perLevel = [];
  const nodes = (trace.plan ?? []).map((planned) => {
    const level = Math.max(-1, ...planned.dependsOn.map((id) => depth.get(id) ?? 0)) + 1;
    depth.set(planned.id, level);
    const row = perLevel[level] ?? 0;
    perLevel[level] = row + 1;
    return { ...planned, level, row, done: performed.get(planned.id) ?? null };
  });
  const ends = trace.fetches.map((fetch) => fetch.startMs + fetch.durationMs);
  return { nodes, levels: perLevel.length, rows: Math.max(1, ...perLevel), lastMs: Math.max(0.001, ...ends) };
}

/** Everything that a fetch has to say of itself in one word each. */
export function remarks({ done, deferred, ...planned }) {
  if (!done) return deferred ? ["deferred, not sent yet"] : ["not sent"];
  const found = [];
  if (planned.entities) found.push(done.entities === 1 ? "1 entity" : `${done.entities} entities`);
  if (done.bytes !== null) found.push(size(done.bytes));
  if (deferred) found.push("deferred");
  if (done.cached) found.push("cached");
  if (done.shared) found.push("shared");
  if (done.requests > 1) found.push(`${done.requests} requests`);
  if (done.errors > 0) found.push(done.errors === 1 ? "1 error" : `${done.errors} errors`);
  if (done.code) found.push(done.code);
  if (!done.ended) found.push("not ended");
  return found;
}

/** Whether something went wrong with a fetch. */
export function isWrong({ done }) {
  return Boolean(done && (done.code || done.errors > 0));
}

/** An operation as it is read best. */
export function operationText(text) {
  try {
    return print(parse(text));
  } catch {
    return text;
  }
}

export function variablesText({ done }) {
  if (!done) return "";
  if (done.variables === null) return `${size(done.variablesBytes)}, too large to be told`;
  return Object.keys(done.variables).length > 0 ? JSON.stringify(done.variables, null, 2) : "";
}

/** The whole trace as text, to be sent to somebody. */
export function traceText(trace) {
  const { nodes } = readTrace(trace);
  const lines = [`${ms(trace.durationMs)}, ${nodes.length} fetches, plan ${trace.planCached ? "from the cache" : "made anew"}`];
  for (const node of nodes) {
    const after = node.dependsOn.length > 0 ? ` after ${node.dependsOn.map((id) => `#${id}`).join(", ")}` : "";
    const when = node.done ? `at ${ms(node.done.startMs)} for ${ms(node.done.durationMs)}` : "";
    lines.push("", [`#${node.id} ${node.subgraph}${after}`, when, ...remarks(node)].filter(Boolean).join(" | "));
    lines.push(operationText(node.operation).replace(/^/gm, "  "));
    const variables = variablesText(node);
    if (variables) lines.push(variables.replace(/^/gm, "  "));
  }
  return `${lines.join("\n")}\n`;
}

export function ms(value) {
  return value < 10 ? `${value.toFixed(1)} ms` : value < 10_000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}

export function size(bytes) {
  return bytes < 1000 ? `${bytes} B` : bytes < 1_000_000 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}
