// Loads supergraph files into Apollo's and Hive's query planners; prints {loaded, failures} as JSON.
import { readFileSync } from "node:fs";
import { ROUTER_SUPPORTED_SUPERGRAPH_FEATURES, Supergraph } from "@apollo/federation-internals";
import { QueryPlanner as ApolloPlanner } from "@apollo/query-planner";
import { QueryPlanner as HivePlanner } from "@graphql-hive/router-query-planner";

const planners = {
  apollo: (sdl) => new ApolloPlanner(Supergraph.build(sdl, { supportedFeatures: ROUTER_SUPPORTED_SUPERGRAPH_FEATURES })),
  hive: (sdl) => new HivePlanner(sdl),
};
const failures = [];
let loaded = 0;
for (const file of process.argv.slice(2)) {
  const sdl = readFileSync(file, "utf8");
  for (const [name, load] of Object.entries(planners)) {
    try {
      load(sdl);
      loaded += 1;
    } catch (error) {
      failures.push(`${name}: ${file}: ${String(error.message).slice(0, 200)}`);
    }
  }
}
process.stdout.write(JSON.stringify({ loaded, failures }));
