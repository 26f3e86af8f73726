import { useSyncExternalStore } from "react";

/** What became of the operation that was run last: for the line below the answer, and the panels behind it. */
const EVENTS_MAX = 100;
const EVENT_CHARACTERS_MAX = 5000; // what is longer is cut: the newest is shown whole, as the answer
const NOTHING = { phase: "none", kind: "query", bytes: 0, ms: 0, headers: [], events: [], eventCount: 0, trace: null };

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
        phase: "streaming",
        status: response.status,
        statusText: response.statusText,
        headers: [...response.headers.entries()],
      }),
    bytes: (count) => current.id === id && set({ bytes: current.bytes + count }),
    answered: (trace) => tell(withTrace(trace)),
    event: (answer, trace) =>
      tell({
        ...withTrace(trace),
        eventCount: current.eventCount + 1,
        events: [{ number: current.eventCount + 1, at: new Date(), text: shortened(answer) }, ...current.events].slice(0, EVENTS_MAX),
      }),
    ended: () => current.phase !== "failed" && tell({ phase: "ended" }),
    failed: (message) => tell({ phase: "failed", statusText: message }),
  };
}

function shortened(answer) {
  const text = JSON.stringify(answer);
  return text.length > EVENT_CHARACTERS_MAX ? `${text.slice(0, EVENT_CHARACTERS_MAX)}…` : text;
}

function withTrace(trace) {
  return trace ? { trace: { ...current.trace, ...trace } } : {};
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
