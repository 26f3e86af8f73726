// graphql-http's audit of a GraphQL endpoint: `node audit.mjs URL [NAME VALUE]`, with a header that every request gets.
// It prints what each audit came to, as JSON.
import { auditServer } from "graphql-http";

const [url, name, value] = process.argv.slice(2);
const fetchFn = (to, init = {}) => {
  const headers = new Headers(init.headers);
  if (name) headers.set(name, value);
  return fetch(to, { ...init, headers });
};
const results = await auditServer({ url, fetchFn });
const told = results.map(({ id, name, status, reason }) => ({ id, name, status, reason }));
process.stdout.write(JSON.stringify(told));
