/**
 * Variables of examples that cannot be written down beforehand: `= uuid` is a new one for each click, and
 * `= { users(first: 1) { id } }` is the first value that the router answers to that. Nothing but what the deployment's
 * examples say is ever read as a formula.
 */
const START = "= ";

export function readFormulas(examples) {
  const found = new Set();
  for (const { variables } of examples) {
    try {
      collect(JSON.parse(variables || "null"), found);
    } catch {
      // the editor shows what is wrong with it
    }
  }
  return found;
}

function collect(value, found) {
  if (typeof value === "string" && value.startsWith(START)) found.add(value);
  else if (value !== null && typeof value === "object") Object.values(value).forEach((item) => collect(item, found));
}

/** The variables with each formula's value. Throws the router's answer where it has none. */
export async function resolve(value, formulas, ask) {
  if (typeof value === "string") return formulas.has(value) ? evaluate(value.slice(START.length), ask) : value;
  if (Array.isArray(value)) return Promise.all(value.map((item) => resolve(item, formulas, ask)));
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).map(async ([key, item]) => [key, await resolve(item, formulas, ask)]);
  return Object.fromEntries(await Promise.all(entries));
}

async function evaluate(formula, ask) {
  if (formula === "uuid") return uuid();
  const answer = await ask(formula);
  if (answer.errors) throw answer;
  return firstLeaf(answer.data);
}

function firstLeaf(value) {
  if (value === null || typeof value !== "object") return value;
  for (const item of Object.values(value)) {
    const found = firstLeaf(item);
    if (found !== null && found !== undefined) return found;
  }
  return null;
}

/** As crypto.randomUUID, which pages without TLS do not have. */
export function uuid() {
  const bytes = window.crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
