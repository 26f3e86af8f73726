// Composes `name=url=file` arguments with Apollo's composition; prints {errors, hints, supergraph} as JSON.
import { readFileSync } from "node:fs";
import { composeServices } from "@apollo/composition";
import { parse } from "graphql";

const services = process.argv.slice(2).map((argument) => {
  const [name, url, file] = argument.split("=");
  return { name, url, typeDefs: parse(readFileSync(file, "utf8")) };
});
const result = composeServices(services);
const errors = (result.errors ?? []).map((error) => `${error.extensions?.code}: ${error.message}`);
const hints = (result.hints ?? []).map((hint) => `${hint.definition.code}: ${hint.message}`);
process.stdout.write(JSON.stringify({ errors, hints, supergraph: result.supergraphSdl ?? null }));
