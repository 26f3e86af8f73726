/** Reads answers that come in pieces: server-sent events (graphql-sse's protocol) and multipart/mixed (@defer). */

async function* texts(body, onBytes) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    onBytes(value.byteLength);
    yield decoder.decode(value, { stream: true });
  }
}

async function* piecesBetween(separator, body, onBytes) {
  let rest = "";
  for await (const text of texts(body, onBytes)) {
    const pieces = (rest + text).split(separator);
    rest = pieces.pop();
    yield* pieces;
  }
  if (rest) yield rest;
}

/** The answers of a subscription, one by one. */
export async function* readEvents(response, onBytes) {
  for await (const event of piecesBetween(/\r?\n\r?\n/, response.body, onBytes)) {
    const lines = event.split(/\r?\n/);
    const data = lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim());
    if (lines.some((line) => /^event:\s*complete$/.test(line))) return;
    if (data.join("")) yield JSON.parse(data.join("\n"));
  }
}

/** The parts of an answer, each as it was sent. */
export async function* readParts(response, onBytes) {
  const [, boundary = "-"] = /boundary="?([^";,]+)/i.exec(response.headers.get("content-type")) ?? [];
  for await (const part of piecesBetween(`\r\n--${boundary}`, response.body, onBytes)) {
    const [, body] = part.split(/\r\n\r\n([\s\S]*)/);
    if (body?.trim()) yield JSON.parse(body);
  }
}

/** The whole answer as it is with one part more (`deferSpec=20220824`). */
export function withPart(answer, { incremental = [], data, errors = [], extensions }) {
  const whole = structuredClone(answer);
  if (data !== undefined) whole.data = data;
  const told = [...errors];
  if (extensions) whole.extensions = { ...whole.extensions, ...extensions };
  for (const item of incremental) {
    told.push(...(item.errors ?? []));
    if (item.data) merge(item.path.reduce((value, key) => value?.[key], whole.data), item.data);
  }
  if (told.length > 0) whole.errors = [...(whole.errors ?? []), ...told];
  return whole;
}

function merge(target, source) {
  if (target === null || typeof target !== "object") return;
  for (const [key, value] of Object.entries(source)) {
    const known = target[key];
    if (known !== null && typeof known === "object" && value !== null && typeof value === "object") merge(known, value);
    else target[key] = value;
  }
}
