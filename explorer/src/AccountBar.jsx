import { useEffect, useRef, useState } from "react";
import { describeToken, logIn, logOut, pasteToken, register, useSession } from "./session.js";

const TICK_MS = 5000;

/** Who is logged in, and how to: a form where the graph has logins, and in any case the place to paste a token. */
export function AccountBar({ accounts }) {
  const { token, offered, name, refreshToken, isOwn } = useSession();
  const [form, setForm] = useState(null);
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    setNow(Date.now());
    const timer = window.setInterval(() => setNow(Date.now()), TICK_MS);
    return () => window.clearInterval(timer);
  }, [token]);
  const expiresAt = describeToken(token)?.expiresAt;
  const isRefreshed = Boolean(refreshToken && accounts?.refresh);
  const isOver = !token || (!isRefreshed && expiresAt && expiresAt.getTime() <= now);
  return (
    <div className="explorer-account">
      <form className="explorer-token" onSubmit={(event) => event.preventDefault()}>
        <label htmlFor="token">Access token</label>
        <input
          id="token"
          type="password"
          autoComplete="off"
          spellCheck="false"
          placeholder="paste it here"
          value={token}
          onChange={(event) => pasteToken(event.target.value)}
        />
      </form>
      {offered && offered !== token ? (
        <button type="button" onClick={() => pasteToken(offered)}>
          Use the token just received
        </button>
      ) : null}
      {token ? (
        <button type="button" className="plain" onClick={logOut}>
          {isOwn ? "Log out" : "Forget"}
        </button>
      ) : null}
      {accounts && isOver ? (
        <button type="button" onClick={() => setForm("login")}>
          Log in
        </button>
      ) : null}
      {accounts?.register && isOver ? (
        <button type="button" className="plain" onClick={() => setForm("register")}>
          Register
        </button>
      ) : null}
      <TokenState token={token} name={name} now={now} isRefreshed={isRefreshed} />
      {form && accounts ? <AccountForm kind={form} accounts={accounts} onClose={() => setForm(null)} /> : null}
    </div>
  );
}

function TokenState({ token, name, now, isRefreshed }) {
  if (!token) return <output className="explorer-token-state">not logged in</output>;
  const claims = describeToken(token);
  const who = name ? <b>{name}</b> : null;
  if (isRefreshed) return <output className="explorer-token-state">logged in{who ? " as " : ""}{who}</output>;
  if (!claims?.expiresAt) return <output className="explorer-token-state">token set</output>;
  const minutes = Math.ceil((claims.expiresAt.getTime() - now) / 60000);
  return (
    <output className={`explorer-token-state${minutes > 0 ? "" : " expired"}`} title={`user ${claims.subject}`}>
      {minutes > 0 ? `valid for ${minutes} min` : "expired: log in again"}
    </output>
  );
}

/** A dialog with the inputs that the schema asks for. */
function AccountForm({ kind, accounts, onClose }) {
  const dialog = useRef(null);
  const [problems, setProblems] = useState([]);
  const [isBusy, setBusy] = useState(false);
  useEffect(() => dialog.current.showModal(), []);
  const operation = accounts[kind];
  const title = kind === "login" ? "Log in" : "Register";
  const submit = async (event) => {
    event.preventDefault();
    const form = Object.fromEntries(new FormData(event.target));
    setBusy(true);
    try {
      const found = await (kind === "login" ? logIn(form) : register(form));
      setProblems(found);
      if (found.length === 0) onClose();
    } catch (failure) {
      setProblems([{ message: failure.message, field: null }]);
    } finally {
      setBusy(false);
    }
  };
  return (
    <dialog ref={dialog} className="explorer-dialog" aria-labelledby="account-title" onClose={onClose}>
      <h2 id="account-title">{title}</h2>
      <form onSubmit={submit}>
        {operation.inputs
          .filter((input) => !input.isKey)
          .map((input) => (
            <AccountInput key={input.name} input={input} kind={kind} />
          ))}
        <div role="alert" className="explorer-problems">
          {problems.map(({ message, field }) => (
            <p key={message + field}>{field ? `${field}: ${message}` : message}</p>
          ))}
        </div>
        <div className="explorer-buttons">
          <button type="button" className="plain" onClick={() => dialog.current.close()}>
            Cancel
          </button>
          <button type="submit" disabled={isBusy}>
            {title}
          </button>
        </div>
      </form>
    </dialog>
  );
}

function AccountInput({ input, kind }) {
  const id = `account-${input.name}`;
  const own = { id, name: input.name, required: input.isRequired };
  const isEmail = /e-?mail/i.test(input.name);
  const fill = input.isPassword ? (kind === "login" ? "current-password" : "new-password") : isEmail ? "email" : "off";
  return (
    <div className="explorer-input">
      <label htmlFor={id}>{input.label}</label>
      {input.choices ? (
        <select {...own}>
          {input.choices.map((choice) => (
            <option key={choice}>{choice}</option>
          ))}
        </select>
      ) : (
        <input {...own} type={input.isPassword ? "password" : isEmail ? "email" : "text"} autoComplete={fill} aria-describedby={`${id}-hint`} />
      )}
      <small id={`${id}-hint`}>{input.hint}</small>
    </div>
  );
}
