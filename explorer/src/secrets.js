/** What must not outlive the page: tokens wherever they stand, and what is under a name that says so. */
const JWT = /\bey[\w-]{8,}\.[\w-]+\.[\w-]*/g;
const SECRET_NAME = /passw(or)?d|token|secret/i;
const SECRET_PAIR = /("?\w*(?:password|passwd|token|secret)\w*\\?"?\s*:\s*)(\\?")((?:[^"\\]|\\[^"])*)\2/gi;

/** Takes secrets out of texts. What the examples themselves say is public, and stays. */
export function createScrubber(examples) {
  const open = new Set([""]);
  for (const { query, variables } of examples) {
    collect(parsed(variables ?? ""), open);
    for (const [, , , value] of (query ?? "").matchAll(SECRET_PAIR)) open.add(value);
  }
  const isOpen = (value) => open.has(value) || value.startsWith("= ");

  function text(value) {
    const json = parsed(value);
    if (json !== null && typeof json === "object") {
      const clean = walk(json);
      return JSON.stringify(clean) === JSON.stringify(json) ? value : JSON.stringify(clean, null, 2);
    }
    return value
      .replace(JWT, "")
      .replace(SECRET_PAIR, (pair, name, quote, secret) => (isOpen(secret) ? pair : `${name}${quote}${quote}`));
  }

  function walk(value, name = "") {
    if (typeof value === "string") return SECRET_NAME.test(name) && !isOpen(value) ? "" : text(value);
    if (Array.isArray(value)) return value.map((item) => walk(item, name));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, key === "headers" ? null : walk(item, key)]),
    );
  }

  return text;
}

function collect(value, found, name = "") {
  if (typeof value === "string" && SECRET_NAME.test(name)) found.add(value);
  else if (value !== null && typeof value === "object")
    for (const [key, item] of Object.entries(value)) collect(item, found, Array.isArray(value) ? name : key);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
