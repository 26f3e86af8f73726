import { getOperationAST, parse } from "graphql";
import { resolve } from "./formulas.js";
import { beginRun, takeTrace } from "./runs.js";
import { readEvents, readParts, withPart } from "./streams.js";

const ONE = "application/graphql-response+json, application/json";
const PARTS = `multipart/mixed;deferSpec=20220824, ${ONE}`;
const EVENTS = `text/event-stream, ${ONE};q=0.5`;

/** One POST to the page's own address, and to no other; a header of `headers` counts more than the token. */
export function post(body, { accept = ONE, token = "", headers = {}, signal } = {}) {
  const sent = new Headers({ accept });
  if (token) sent.set("authorization", `Bearer ${token}`);
  for (const [name, value] of Object.entries(headers)) sent.set(name, value);
  sent.set("content-type", "application/json");
  return fetch(window.location.pathname, {
    method: "POST",
    headers: sent,
    body: JSON.stringify(body),
    credentials: "omit",
    signal,
  });
}

/** An answer's JSON, or an error that says what came instead. */
export async function decode(response, text = null) {
  text ??= await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return { errors: [{ message: `HTTP ${response.status} ${response.statusText}: ${text.slice(0, 500)}` }] };
  }
}

/** A GraphiQL fetcher: answers whole, in parts, or event by event, as the operation has it. */
export function createFetcher({ freshToken, formulas, traces, onAnswer }) {
  return async function fetcher(parameters, { headers = {} } = {}) {
    const token = await freshToken();
    if (parameters.operationName === "IntrospectionQuery") return decode(await post(parameters, { token, headers }));
    const document = parsed(parameters.query);
    const operation = document && getOperationAST(document, namedIn(document, parameters.operationName));
    const kind = operation?.operation ?? "query";
    const run = beginRun(kind);
    const controller = new AbortController();
    try {
      const ask = async (query) => decode(await post({ query }, { token, headers }));
      const body = { ...parameters, variables: await resolve(parameters.variables, formulas, ask) };
      if (!document || !namedIn(document, body.operationName)) delete body.operationName;
      const live = traces && kind !== "subscription";
      const accept = kind === "subscription" ? EVENTS : live || parameters.query.includes("@defer") ? PARTS : ONE;
      const told = traces ? { "trifolio-trace": live ? "live" : "1", ...headers } : headers;
      const response = await post(body, { accept, token, headers: told, signal: controller.signal });
      run.opened(response);
      const type = response.headers.get("content-type") ?? "";
      if (type.startsWith("text/event-stream")) return stream(eventsOf(response, run), controller, run);
      if (type.startsWith("multipart/")) return stream(partsOf(response, run, onAnswer), controller, run);
      const text = await response.text();
      run.bytes(new TextEncoder().encode(text).length);
      const answer = await decode(response, text);
      run.answered(takeTrace(answer));
      run.ended();
      onAnswer(answer);
      return answer;
    } catch (failure) {
      if (failure?.errors) {
        run.failed("what the example needs cannot be had");
        return failure;
      }
      run.failed(failure.message);
      throw failure;
    }
  };
}

async function* eventsOf(response, run) {
  for await (const answer of readEvents(response, run.bytes)) {
    const trace = takeTrace(answer);
    run.event(answer, trace);
    yield answer;
  }
}

async function* partsOf(response, run, onAnswer) {
  let answer = {};
  for await (const part of readParts(response, run.bytes)) {
    const trace = takeTrace(part);
    if (!saysAnything(part)) {
      run.progress(trace);
      continue;
    }
    answer = withPart(answer, part);
    run.event(part, trace);
    onAnswer(answer);
    yield answer;
  }
}

/** Whether a part belongs to the answer: one that does not only tells what becomes of the fetches meanwhile. */
function saysAnything({ data, errors, incremental, extensions }) {
  return data !== undefined || Boolean(errors || incremental || extensions);
}

/** What GraphiQL reads to its end, or stops: then the request ends, whatever it waits for. */
function stream(answers, controller, run) {
  let isStopped = false;
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      try {
        const step = await answers.next();
        if (step.done) run.ended();
        return step;
      } catch (failure) {
        if (isStopped) return { done: true, value: undefined };
        run.failed(failure.message);
        throw failure;
      }
    },
    async return() {
      isStopped = true;
      controller.abort();
      run.ended();
      return { done: true, value: undefined };
    },
  };
}

function parsed(query) {
  try {
    return parse(query, { noLocation: true });
  } catch {
    return null; // the router names the syntax error
  }
}

/** GraphiQL learns a tab's operations a moment after the tab opens: a name left over from the tab before does not count. */
function namedIn(document, operationName) {
  const names = document.definitions.map((definition) => definition.name?.value);
  return operationName && names.includes(operationName) ? operationName : undefined;
}
