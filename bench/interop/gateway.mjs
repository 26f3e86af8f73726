// Serves a supergraph with Apollo's gateway: one JSON object per line in ({query, variables, headers}), one out.
// Arguments: the supergraph's file, then `name=url=secret` for each subgraph.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { ApolloGateway, RemoteGraphQLDataSource } from "@apollo/gateway";
import { parse } from "graphql";

const [file, ...places] = process.argv.slice(2);
const subgraphs = Object.fromEntries(places.map((place) => place.split("=")).map(([name, ...rest]) => [name, rest]));

const gateway = new ApolloGateway({
  supergraphSdl: readFileSync(file, "utf8"),
  buildService({ name }) {
    const [url, secret] = subgraphs[name];
    return new RemoteGraphQLDataSource({
      url,
      willSendRequest({ request, context }) {
        request.http.headers.set("x-router-secret", secret);
        if (context.authorization) request.http.headers.set("authorization", context.authorization);
      },
    });
  },
});
const { executor, schema } = await gateway.load();
process.stdout.write("ready\n");

for await (const line of createInterface({ input: process.stdin })) {
  const { query, variables, headers } = JSON.parse(line);
  const document = parse(query);
  const answer = await executor({
    document,
    schema,
    request: { query, variables, http: { headers: new Map() } },
    queryHash: query,
    operationName: document.definitions.find((each) => each.kind === "OperationDefinition").name?.value ?? null,
    operation: document.definitions.find((each) => each.kind === "OperationDefinition"),
    context: headers ?? {},
    metrics: {},
    overallCachePolicy: { restrict() {}, policyIfCacheable: () => null },
    cache: { get: async () => undefined, set: async () => {} },
    logger: console,
    source: query,
  });
  process.stdout.write(JSON.stringify(answer) + "\n");
}
await gateway.stop();
