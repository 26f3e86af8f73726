import { useSyncExternalStore } from "react";
import { variablesOf } from "./accounts.js";
import { decode, post } from "./fetcher.js";

/**
 * Who is logged in. The access token is kept for this browser tab (sessionStorage). The refresh token works once, so two
 * pages must not have it: it is in memory, and in sessionStorage only while the page is being loaded again.
 * Neither is ever in localStorage, in a cookie or in an address.
 */
const TOKEN_KEY = "trifolio:token";
const REFRESH_KEY = "trifolio:refresh";
const AHEAD_MS = 60_000; // so long before its end a token is exchanged, or after four fifths of a shorter life
const AGAIN_MS = 10_000;

let accounts = null;
let timer = 0;
let refreshing = null;
let current = { token: read(TOKEN_KEY), offered: "", ...claim() };
const listeners = new Set();

window.addEventListener("pagehide", () => {
  if (current.refreshToken) write(REFRESH_KEY, JSON.stringify([current.refreshToken, current.name]));
});
window.addEventListener("pageshow", (event) => event.persisted && claim());

function set(changes) {
  current = { ...current, ...changes };
  write(TOKEN_KEY, current.token);
  listeners.forEach((listener) => listener());
  schedule();
}

export function useSession() {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => current,
  );
}

/** What this graph's logins are like; null where it has none. */
export function setAccounts(found) {
  accounts = found;
  schedule();
}

/** Accepts a token as it is pasted: with spaces or line ends around it, with or without "Bearer". */
export function pasteToken(text) {
  const token = text.trim().replace(/^(authorization:\s*)?bearer\s+/i, "");
  set({ token, name: "", refreshToken: "", isOwn: false });
}

/** Remembers a token that an answer brought, so that it can be put to use. */
export function offerToken(answer) {
  const offered = findToken(answer?.data);
  if (offered) set({ offered });
}

/** Logs in. Returns what is wrong, each with the input that it is about; nothing where it is done. */
export async function logIn(form) {
  const { problems, answer } = await perform(accounts.login, form);
  if (problems.length > 0) return problems;
  begin(answer, accounts.login);
  return [];
}

/** Registers, and logs in where that takes nothing else. Returns what is wrong, as logIn. */
export async function register(form) {
  const { problems, answer } = await perform(accounts.register, form);
  if (problems.length > 0) return problems;
  if (accounts.register.token && tokensIn(answer, accounts.register)) {
    begin(answer, accounts.register);
    return [];
  }
  return accounts.login.inputs.every((input) => input.isKey || form[input.name] !== undefined) ? logIn(form) : [];
}

/** Ends the session: at the router where it began here and can be ended, and in this page in any case. */
export async function logOut() {
  const { token, isOwn } = current;
  set({ token: "", name: "", refreshToken: "", offered: "", isOwn: false });
  if (accounts?.logout && isOwn) await post({ query: accounts.logout }, { token }).catch(() => null);
}

/** The token for the next request: exchanged first where it is at its end and can be. */
export async function freshToken() {
  if (refreshing) await refreshing;
  else if (current.refreshToken && accounts?.refresh && leftMs(current.token) <= 0) await refresh();
  return current.token;
}

function refresh() {
  refreshing ??= exchange().finally(() => {
    refreshing = null;
  });
  return refreshing;
}

async function exchange() {
  const { refreshToken } = current;
  try {
    const { problems, answer } = await perform(accounts.refresh, { refreshToken });
    if (current.refreshToken !== refreshToken) return; // logged out, or in as somebody else
    if (problems.length > 0) set({ refreshToken: "" });
    else begin(answer, accounts.refresh);
  } catch {
    timer = window.setTimeout(refresh, AGAIN_MS); // the router cannot be reached
  }
}

function schedule() {
  window.clearTimeout(timer);
  if (!current.refreshToken || !accounts?.refresh) return;
  const left = Math.min(leftMs(current.token), 86_400_000);
  timer = window.setTimeout(refresh, Math.max(0, left > 5 * AHEAD_MS ? left - AHEAD_MS : left * 0.8));
}

async function perform(operation, form) {
  const answer = await decode(await post({ query: operation.query, variables: variablesOf(operation, form) }));
  const told = [...(answer.errors ?? []), ...(answer.data?.answer?.errors ?? [])];
  const problems = told.map(({ message, field }) => ({ message: String(message), field: field ?? null }));
  if (problems.length === 0 && operation.token && operation !== accounts.register && !tokensIn(answer, operation))
    problems.push({ message: "There is no token in the answer.", field: null });
  return { problems, answer };
}

function tokensIn(answer, operation) {
  const holder = operation.token.reduce((value, name) => value?.[name], answer.data?.answer);
  return holder?.accessToken ? holder : null;
}

function begin(answer, operation) {
  const { accessToken, refreshToken, user } = tokensIn(answer, operation);
  const name = String(user?.name ?? user?.email ?? current.name);
  set({ token: accessToken, refreshToken: refreshToken ?? "", name, offered: "", isOwn: true });
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

function leftMs(token) {
  const expiresAt = describeToken(token)?.expiresAt;
  return expiresAt ? expiresAt.getTime() - Date.now() : Infinity;
}

function findToken(answer) {
  if (answer === null || typeof answer !== "object") return null;
  if (typeof answer.accessToken === "string") return answer.accessToken;
  for (const value of Object.values(answer)) {
    const found = findToken(value);
    if (found) return found;
  }
  return null;
}

function claim() {
  const kept = read(REFRESH_KEY);
  write(REFRESH_KEY, "");
  try {
    const [refreshToken, name] = JSON.parse(kept);
    return { refreshToken, name, isOwn: true };
  } catch {
    return { refreshToken: "", name: "", isOwn: false };
  }
}

function read(key) {
  try {
    return window.sessionStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}

function write(key, value) {
  try {
    if (value) window.sessionStorage.setItem(key, value);
    else window.sessionStorage.removeItem(key);
  } catch {
    // it is kept in memory alone
  }
}
