// Judges what a composer made: one JSON object per line in, one out.
//
// In: {subgraphs: [{name, url, sdl}], supergraph, operations: [text]}. Out: {composed: the codes of Apollo's errors,
// messages, loads: {planner: error or null}, plans: {planner: [[requests, depth] or an error, for each operation]}}.
import { createInterface } from "node:readline";
import { composeServices } from "@apollo/composition";
import { operationFromDocument, ROUTER_SUPPORTED_SUPERGRAPH_FEATURES, Supergraph } from "@apollo/federation-internals";
import { QueryPlanner as ApolloPlanner } from "@apollo/query-planner";
import { QueryPlanner as HivePlanner } from "@graphql-hive/router-query-planner";
import { parse } from "graphql";

const planners = {
  apollo(sdl) {
    const supergraph = Supergraph.build(sdl, { supportedFeatures: ROUTER_SUPPORTED_SUPERGRAPH_FEATURES });
    const planner = new ApolloPlanner(supergraph);
    const schema = supergraph.apiSchema();
    return (text) => planner.buildQueryPlan(operationFromDocument(schema, parse(text)));
  },
  hive(sdl) {
    const planner = new HivePlanner(sdl);
    return (text) => planner.plan(text, nameOf(text), new Set(), 100);
  },
};

// The name of a document's operation, where it has one.
const nameOf = (text) => parse(text).definitions.find((each) => each.kind === "OperationDefinition").name?.value;

// Requests of a plan's node, and how many of them wait for one another; a batch is one request, as it is sent as one.
function measure(node) {
  if (!node) return [0, 0];
  const parts = (node.nodes ?? [node.node, node.ifClause, node.elseClause]).filter(Boolean).map(measure);
  const sum = parts.reduce((total, [requests]) => total + requests, 0);
  switch (node.kind) {
    case "Fetch":
    case "BatchFetch":
      return [1, 1];
    case "Parallel":
    case "Condition":
      return [sum, Math.max(0, ...parts.map(([, depth]) => depth))];
    default:
      return [sum, parts.reduce((total, [, depth]) => total + depth, 0)];
  }
}

// Long enough for what is said of every way that a composer has tried.
const shortened = (error) => String(error?.message ?? error).slice(0, 20_000);

for await (const line of createInterface({ input: process.stdin })) {
  const { subgraphs, supergraph, operations } = JSON.parse(line);
  const answer = { composed: [], messages: [], loads: {}, plans: {} };
  try {
    const services = subgraphs.map(({ name, url, sdl }) => ({ name, url, typeDefs: parse(sdl) }));
    const { errors } = composeServices(services);
    answer.composed = (errors ?? []).map((error) => error.extensions?.code ?? "NONE");
    answer.messages = (errors ?? []).map((error) => shortened(error));
  } catch (error) {
    answer.composed = ["RAISED"];
    answer.messages = [shortened(error)];
  }
  for (const [name, load] of supergraph ? Object.entries(planners) : []) {
    try {
      const plan = load(supergraph);
      answer.loads[name] = null;
      answer.plans[name] = [];
      for (const text of operations) {
        try {
          answer.plans[name].push(measure(plan(text).node));
        } catch (error) {
          answer.plans[name].push(shortened(error));
        }
      }
    } catch (error) {
      answer.loads[name] = shortened(error);
    }
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
