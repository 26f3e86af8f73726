import { parse } from "graphql";

/**
 * A GraphiQL fetcher: one POST to the page's own address, and to no other.
 * The token goes along unless the headers editor names an Authorization of its own.
 */
export function createFetcher({ readToken, onAnswer }) {
  return async function fetcher(parameters, { headers = {} } = {}) {
    const token = readToken();
    const sent = new Headers({ accept: "application/graphql-response+json, application/json" });
    if (token) sent.set("authorization", `Bearer ${token}`);
    for (const [name, value] of Object.entries(headers)) sent.set(name, value);
    sent.set("content-type", "application/json");
    const response = await fetch(window.location.pathname, {
      method: "POST",
      headers: sent,
      body: JSON.stringify(withOwnOperation(parameters)),
      credentials: "omit",
    });
    const answer = await decode(response);
    onAnswer(answer);
    return answer;
  };
}

/** GraphiQL learns a tab's operations a moment after the tab opens: a name left over from the tab before is taken out. */
function withOwnOperation({ operationName, ...parameters }) {
  return operationName && isDefined(operationName, parameters.query) ? { ...parameters, operationName } : parameters;
}

function isDefined(operationName, query) {
  try {
    return parse(query, { noLocation: true }).definitions.some((definition) => definition.name?.value === operationName);
  } catch {
    return true; // the router names the syntax error
  }
}

async function decode(response) {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return { errors: [{ message: `HTTP ${response.status} ${response.statusText}: ${text.slice(0, 500)}` }] };
  }
}
