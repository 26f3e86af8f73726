import { parse, print } from "graphql";

/**
 * A trace as it is drawn: each fetch of the plan with what became of it, and where it stands. With `goesOn`, what has not
 * ended, or not begun, may still do so.
 */
export function readTrace(trace, goesOn = false) {
  const performed = new Map();
  for (const fetch of trace.fetches) if (!performed.has(fetch.id)) performed.set(fetch.id, fetch);
  const depth = new Map();
  const perLevel = [];
  const nodes = (trace.plan ?? []).map((planned) => {
    const level = Math.max(-1, ...planned.dependsOn.map((id) => depth.get(id) ?? 0)) + 1;
    depth.set(planned.id, level);
    const row = perLevel[level] ?? 0;
    perLevel[level] = row + 1;
    return { ...planned, level, row, goesOn, done: performed.get(planned.id) ?? null };
  });
  return { nodes, levels: perLevel.length, rows: Math.max(1, ...perLevel) };
}

/** Each fetch's time as it is `later` after the trace was told, and how long the line is that the bars stand on. */
export function readTimes(nodes, trace, later) {
  const times = new Map();
  for (const { id, done } of nodes) {
    if (done) times.set(id, done.ended ? done.durationMs : Math.max(done.durationMs, trace.durationMs + later - done.startMs));
  }
  const ends = nodes.filter(({ done }) => done).map(({ id, done }) => done.startMs + times.get(id));
  const lastMs = Math.max(0.001, ...ends);
  return { times, lastMs: nodes.some(isRunning) ? roundedUp(lastMs) : lastMs };
}

/** The next of 1, 2, 5, 10, 20, 50 and so on: what grows towards it is seen growing. */
function roundedUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value);
}

/** Whether a fetch has been sent and its answer is waited for. */
export function isRunning({ done, goesOn }) {
  return Boolean(goesOn && done && !done.ended);
}

/** Everything that a fetch has to say of itself in one word each. */
export function remarks({ done, deferred, goesOn, ...planned }) {
  if (!done) return deferred ? ["deferred, not sent yet"] : [goesOn ? "not sent yet" : "not sent"];
  const found = [];
  if (planned.entities) found.push(done.entities === 1 ? "1 entity" : `${done.entities} entities`);
  if (done.bytes !== null) found.push(size(done.bytes));
  if (deferred) found.push("deferred");
  if (done.cached) found.push("cached");
  if (done.shared) found.push("shared");
  if (done.requests > 1) found.push(`${done.requests} requests`);
  if (done.errors > 0) found.push(done.errors === 1 ? "1 error" : `${done.errors} errors`);
  if (done.code) found.push(done.code);
  if (!done.ended) found.push(goesOn ? "under way" : "not ended");
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
