import { useSyncExternalStore } from "react";

/** What became of the operation that was run last: for the line below the answer, and the panels behind it. */
const EVENTS_MAX = 100;
const EVENT_CHARACTERS_MAX = 5000; // what is longer is cut: the newest is shown whole, as the answer
const NOTHING = {
  phase: "none",
  kind: "query",
  bytes: 0,
  ms: 0,
  headers: [],
  events: [],
  eventCount: 0,
  trace: null,
  tracedAt: 0, // when the trace was told
  isProgress: false, // whether it was told before, or between, what is the answer
  endedAt: 0,
};

let current = NOTHING;
const listeners = new Set();

function set(changes) {
  current = { ...current, ...changes };
  listeners.forEach((listener) => listener());
}

export function useRun() {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => current,
  );
}

/** Begins to tell of another operation; what an older one tells from then on is not wanted any more. */
export function beginRun(kind) {
  const started = performance.now();
  const id = {};
  current = { ...NOTHING, id };
  set({ phase: "running", kind, started });
  const tell = (changes) => current.id === id && set({ ...changes, ms: performance.now() - started });
  return {
    opened: (response) =>
      tell({
        phase: kind === "subscription" ? "streaming" : "running",
        status: response.status,
        statusText: response.statusText,
        headers: [...response.headers.entries()],
      }),
    bytes: (count) => current.id === id && set({ bytes: current.bytes + count }),
    progress: (trace) =>
      trace && tell({ trace: withNews(current.trace, trace), tracedAt: performance.now(), isProgress: true }),
    answered: (trace) => tell(withTrace(trace)),
    event: (answer, trace) =>
      tell({
        ...withTrace(trace),
        phase: "streaming",
        eventCount: current.eventCount + 1,
        events: [{ number: current.eventCount + 1, at: new Date(), text: shortened(answer) }, ...current.events].slice(0, EVENTS_MAX),
      }),
    ended: () => current.phase !== "failed" && tell({ phase: "ended", endedAt: performance.now() }),
    failed: (message) => tell({ phase: "failed", statusText: message, endedAt: performance.now() }),
  };
}

function shortened(answer) {
  const text = JSON.stringify(answer);
  return text.length > EVENT_CHARACTERS_MAX ? `${text.slice(0, EVENT_CHARACTERS_MAX)}…` : text;
}

function withTrace(trace) {
  return trace ? { trace: { ...current.trace, ...trace }, tracedAt: performance.now(), isProgress: false } : {};
}

/** A trace with fetches that have begun, or ended, since it was told. */
function withNews(trace, news) {
  const fetches = new Map([...(trace?.fetches ?? []), ...news.fetches].map((fetch) => [fetch.id, fetch]));
  return { ...trace, ...news, fetches: [...fetches.values()] };
}

/** Whether an answer, or something of it, is still to come; of a subscription, each event's trace is the last word on it. */
export function isUnderWay({ kind, phase }) {
  return kind !== "subscription" && (phase === "running" || phase === "streaming");
}

/** How long ago the trace was told that is not the last word: until now, or until nobody waited any more. */
export function sinceTold(run, now) {
  if (isUnderWay(run)) return Math.max(0, now - run.tracedAt);
  return run.isProgress ? Math.max(0, run.endedAt - run.tracedAt) : 0;
}

/** The trace in an answer or a part of one, taken out of it: the answer is shown without. */
export function takeTrace(answer) {
  let found = null;
  for (const item of [answer, ...(answer?.incremental ?? [])]) {
    if (!item?.extensions?.trace) continue;
    found = item.extensions.trace;
    delete item.extensions.trace;
    if (Object.keys(item.extensions).length === 0) delete item.extensions;
  }
  return found;
}
