/**
 * Where GraphiQL keeps tabs, history and sizes: localStorage, for this endpoint alone, without secrets.
 * A browser that has none keeps them as long as the page is open.
 */
export function createStorage(scrub) {
  const prefix = `trifolio:${window.location.pathname}:`;
  const kept = openStorage();
  const own = () => Object.keys(kept).filter((key) => key.startsWith(prefix));
  return {
    get length() {
      return own().length;
    },
    getItem: (key) => kept.getItem(prefix + key),
    setItem: (key, value) => kept.setItem(prefix + key, scrub(value)),
    removeItem: (key) => kept.removeItem(prefix + key),
    clear: () => own().forEach((key) => kept.removeItem(key)),
  };
}

const TABS = "graphiql:tabState";

/** Whether no tabs are kept from an earlier visit. */
export function isFresh(storage) {
  return storage.getItem(TABS) === null;
}

function openStorage() {
  try {
    window.localStorage.getItem("");
    return window.localStorage;
  } catch {
    const kept = new Map();
    return {
      getItem: (key) => kept.get(key) ?? null,
      setItem: (key, value) => kept.set(key, value),
      removeItem: (key) => kept.delete(key),
    };
  }
}
