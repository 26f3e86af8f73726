import { useEffect, useState } from "react";
import { describeToken } from "./token.js";

const TICK_MS = 5000;

/** The place to paste the token, and what the token says of itself. */
export function TokenField({ token, offered, onChange }) {
  return (
    <form className="explorer-token" onSubmit={(event) => event.preventDefault()}>
      <label htmlFor="token">Access token</label>
      <input
        id="token"
        type="password"
        autoComplete="off"
        spellCheck="false"
        placeholder="paste it here; it is sent to this router only"
        value={token}
        onChange={(event) => onChange(event.target.value)}
      />
      {offered && offered !== token ? (
        <button type="button" id="use-token" onClick={() => onChange(offered)}>
          Use the token just received
        </button>
      ) : null}
      {token ? (
        <button type="button" id="forget-token" onClick={() => onChange("")}>
          Forget
        </button>
      ) : null}
      <TokenState token={token} />
    </form>
  );
}

function TokenState({ token }) {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now()), TICK_MS);
    return () => window.clearInterval(timer);
  }, []);
  if (!token) return <output className="explorer-token-state">not logged in</output>;
  const claims = describeToken(token);
  if (!claims?.expiresAt) return <output className="explorer-token-state">token set</output>;
  const minutes = Math.ceil((claims.expiresAt.getTime() - now) / 60000);
  return (
    <output className={`explorer-token-state${minutes > 0 ? "" : " expired"}`} title={`user ${claims.subject}`}>
      {minutes > 0 ? `valid for ${minutes} min` : "expired: log in again"}
    </output>
  );
}
