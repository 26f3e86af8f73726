const DEFAULTS = { title: "Trifolio router", examples: [], traces: false };

/**
 * What the deployment says about itself: a title, example operations, and whether it tells traces.
 * A router without such a file still gets a working page.
 */
export async function loadSettings() {
  try {
    const response = await fetch("./graphql-assets/explorer.json", { cache: "no-cache" });
    return response.ok ? { ...DEFAULTS, ...(await response.json()) } : DEFAULTS;
  } catch {
    return DEFAULTS;
  }
}
