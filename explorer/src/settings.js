const DEFAULTS = { title: "Trifolio router", examples: [] };

/**
 * What the deployment says about itself: a title and example operations.
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
