// Apollo Client reads answers in parts: one JSON object per line in, {handler, query, variables}, and one line out for
// every result that the client gives: {data, loading, errors}; then {"done": {data, errors}}, what `client.query` gives
// in the end. Argument: the router's URL.
import { createInterface } from "node:readline";
import { ApolloClient, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { Defer20220824Handler, GraphQL17Alpha9Handler } from "@apollo/client/incremental";

const handlers = { Defer20220824Handler, GraphQL17Alpha9Handler };
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const errorsOf = (error) => (error ? (error.errors ?? [{ message: String(error) }]).map((each) => each.message) : []);

function watch(client, options) {
  return new Promise((resolve) => {
    const subscription = client.watchQuery({ ...options, notifyOnNetworkStatusChange: true }).subscribe((result) => {
      const isLast = !result.loading;
      if (result.data !== undefined || isLast) {
        say({ data: result.data ?? null, loading: result.loading, errors: errorsOf(result.error) });
      }
      if (isLast) {
        setImmediate(() => subscription.unsubscribe());
        resolve();
      }
    });
  });
}

for await (const line of createInterface({ input: process.stdin })) {
  const { handler, query, variables } = JSON.parse(line);
  const client = () =>
    new ApolloClient({
      link: new HttpLink({ uri: process.argv[2] }),
      cache: new InMemoryCache(),
      incrementalHandler: new handlers[handler](),
    });
  const options = { query: gql(query), variables, errorPolicy: "all", fetchPolicy: "no-cache" };
  await watch(client(), options);
  const { data, error } = await client().query(options);
  say({ done: { data: data ?? null, errors: errorsOf(error) } });
}
