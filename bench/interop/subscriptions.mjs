// Clients of others subscribe, any number at a time. One JSON object per line in: {id, client, query, variables,
// authorization}, or {leave: id}; one line out for every answer that a client gives, {id, data, codes}, and {id, end}
// when it says that there are no more: null, or what it says against it. Argument: the router's URL.
import { createInterface } from "node:readline";
import { ApolloClient, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { Client, fetchExchange, subscriptionExchange } from "@urql/core";
import * as sse from "graphql-sse";
import * as ws from "graphql-ws";
import { onEnd, pipe, subscribe } from "wonka";
import WebSocket from "ws";

globalThis.WebSocket = WebSocket; // Node 20 has none, and Apollo Client asks for it
const url = process.argv[2];
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const codesOf = (errors) => (errors ?? []).map((each) => each.extensions?.code ?? String(each));

// What all clients below are asked with, and the sink that they tell: {next({data, codes}), error(error), complete()}.
const overWebSocket = ({ authorization }) =>
  ws.createClient({ url: url.replace("http", "ws"), webSocketImpl: WebSocket, connectionParams: { authorization }, retryAttempts: 0 });
const overEvents = ({ authorization }) => sse.createClient({ url, headers: { authorization }, retryAttempts: 0 });

const raw = (client) => ({ query, variables }, sink) =>
  client.subscribe({ query, variables }, {
    next: ({ data, errors }) => sink.next({ data, codes: codesOf(errors) }),
    error: (error) => sink.error(error),
    complete: () => sink.complete(),
  });

const apollo = (link) => ({ query, variables }, sink) => {
  const client = new ApolloClient({ link, cache: new InMemoryCache() });
  const options = { query: gql(query), variables, errorPolicy: "all", fetchPolicy: "no-cache" };
  const subscription = client.subscribe(options).subscribe({
    next: ({ data, error }) => sink.next({ data, codes: codesOf(error && (error.errors ?? [error])) }),
    error: (error) => sink.error(error.errors ?? error),
    complete: () => sink.complete(),
  });
  return () => subscription.unsubscribe();
};

// urql takes every answer for a patch to the one before: it keeps data that an answer does not have, and errors until
// others come. What is new in each is told here; its last result, without a next one, is the end and nothing new.
const urql = (options) => ({ query, variables, authorization }, sink) => {
  const client = new Client({ url, preferGetMethod: false, fetchOptions: { headers: { authorization } }, ...options });
  let before = {};
  const tell = (result) => {
    if (result.hasNext) {
      const errorsOf = ({ error }) => (error ? [...error.graphQLErrors, error.networkError].filter(Boolean) : []);
      const data = result.data === before.data ? null : result.data;
      const errors = errorsOf(result).filter((each) => !errorsOf(before).includes(each));
      sink.next({ data, codes: codesOf(errors) });
    }
    before = result;
  };
  const answers = pipe(client.subscription(query, variables), onEnd(() => sink.complete()), subscribe(tell));
  return () => answers.unsubscribe();
};

const forwarding = (client) =>
  subscriptionExchange({
    forwardSubscription: ({ query, variables }) => ({
      subscribe: (sink) => ({ unsubscribe: client.subscribe({ query, variables }, sink) }),
    }),
  });

const clients = {
  "graphql-ws": (asked) => raw(overWebSocket(asked)),
  "graphql-sse": (asked) => raw(overEvents(asked)),
  "@apollo/client, multipart": ({ authorization }) => apollo(new HttpLink({ uri: url, headers: { authorization } })),
  "@apollo/client, graphql-ws": (asked) => apollo(new GraphQLWsLink(overWebSocket(asked))),
  "urql, fetch": () => urql({ exchanges: [fetchExchange], fetchSubscriptions: true }),
  "urql, graphql-ws": (asked) => urql({ exchanges: [forwarding(overWebSocket(asked))] }),
  "urql, graphql-sse": (asked) => urql({ exchanges: [forwarding(overEvents(asked))] }),
};

const leaving = new Map();
for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  if (asked.leave !== undefined) {
    leaving.get(String(asked.leave))();
    continue;
  }
  const { id } = asked;
  const sink = {
    next: ({ data, codes }) => say({ id, data: data ?? null, codes }),
    error: (error) => say({ id, end: Array.isArray(error) ? codesOf(error) : [String(error?.reason || error)] }),
    complete: () => say({ id, end: null }),
  };
  leaving.set(String(id), clients[asked.client](asked)(asked, sink));
}
