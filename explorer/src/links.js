/** What a link says: an operation and its variables, as `?query=` and `?variables=`. Null where it says nothing. */
export function readLink() {
  const parameters = new URLSearchParams(window.location.search);
  const query = parameters.get("query");
  if (!query) return null;
  window.history.replaceState(null, "", window.location.pathname); // a reload would open it once more
  return { query, variables: parameters.get("variables") || null };
}

/** A link to the page with an operation open, without what is secret in it. */
export function makeLink(query, variables, scrub) {
  const parameters = new URLSearchParams({ query: scrub(query) });
  if (variables?.trim()) parameters.set("variables", scrub(variables));
  return `${window.location.origin}${window.location.pathname}?${parameters}`;
}
