/** The access token: kept for this browser tab (sessionStorage), gone when the tab closes, in no cookie. */
const STORAGE_KEY = "trifolio:token";

export function readToken() {
  return window.sessionStorage.getItem(STORAGE_KEY) ?? "";
}

/** Accepts a token as it is pasted: with spaces or line ends around it, with or without "Bearer". */
export function writeToken(text) {
  const token = text.trim().replace(/^(authorization:\s*)?bearer\s+/i, "");
  if (token) window.sessionStorage.setItem(STORAGE_KEY, token);
  else window.sessionStorage.removeItem(STORAGE_KEY);
  return token;
}

/** Who the token speaks for and until when, as far as it says so itself; null for a token that is no JWT. */
export function describeToken(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const claims = JSON.parse(window.atob(payload));
    return { subject: String(claims.sub ?? ""), expiresAt: claims.exp ? new Date(claims.exp * 1000) : null };
  } catch {
    return null;
  }
}

/** The first `accessToken` in an answer (a login, a registration), or null. */
export function findToken(answer) {
  if (answer === null || typeof answer !== "object") return null;
  if (typeof answer.accessToken === "string") return answer.accessToken;
  for (const value of Object.values(answer)) {
    const found = findToken(value);
    if (found) return found;
  }
  return null;
}
