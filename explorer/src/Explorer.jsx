import { GraphiQL } from "graphiql";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { ToolbarButton, useGraphiQL, useGraphiQLActions, useOperationsEditorState, useVariablesEditorState } from "@graphiql/react";
import { AccountBar } from "./AccountBar.jsx";
import { findAccounts } from "./accounts.js";
import { createFetcher } from "./fetcher.js";
import { readFormulas } from "./formulas.js";
import { freeTabKey, mendTabs } from "./keyboard.js";
import { makeLink, readLink } from "./links.js";
import { Outcome } from "./Outcome.jsx";
import { createScrubber } from "./secrets.js";
import { freshToken, offerToken, setAccounts } from "./session.js";
import { createStorage, isFresh } from "./storage.js";
import logo from "./trifolio.svg";

const EMPTY_TAB = { query: "# Write a query here, then press the play button or Ctrl-Enter.\n\nquery {\n  __typename\n}\n", variables: null };
const NOTICE_MS = 4000;

/** What GraphiQL opens with: a link's operation, the tabs of the last visit, or the examples. */
function readBeginning(examples) {
  const scrub = createScrubber(examples);
  const storage = createStorage(scrub);
  const link = readLink();
  const tabs = examples.map(({ query, variables }) => ({ query, variables: variables || null }));
  const defaultTabs = link ? [link, ...tabs] : tabs.length > 0 ? tabs : [EMPTY_TAB];
  const beginning = { scrub, storage, defaultTabs };
  // GraphiQL shows the variables of the last visit in the first tab, and on a first visit none.
  if (link) return { ...beginning, initialQuery: link.query, initialVariables: link.variables ?? "" };
  return isFresh(storage) ? { ...beginning, initialVariables: defaultTabs[0].variables ?? undefined } : beginning;
}

/** The page: a bar with the product's name, the examples and the account, above GraphiQL. */
export function Explorer({ settings }) {
  const { scrub, storage, ...tabs } = useMemo(() => readBeginning(settings.examples), [settings]);
  const [accounts, learn] = useState(null);
  const open = useRef(null);
  const fetcher = useMemo(
    () =>
      createFetcher({
        freshToken,
        formulas: readFormulas(settings.examples),
        traces: settings.traces,
        onAnswer: offerToken,
      }),
    [settings],
  );
  const onSchemaChange = useCallback((schema) => {
    const found = findAccounts(schema);
    setAccounts(found);
    learn(found);
  }, []);
  return (
    <div className="explorer">
      <header className="explorer-bar">
        <img src={logo} alt="" width="32" height="32" />
        <div className="explorer-title">
          <h1>{settings.title}</h1>
          <p>One graph over every subgraph. The book icon opens the schema, Ctrl-Enter runs.</p>
        </div>
        {settings.examples.length > 0 ? (
          <select
            className="explorer-examples"
            aria-label="Open an example"
            value=""
            onChange={(event) => open.current?.(settings.examples[Number(event.target.value)])}
          >
            <option value="" disabled>
              Examples
            </option>
            {settings.examples.map(({ name }, index) => (
              <option key={name} value={index}>
                {name.replace(/^\d+-/, "")}
              </option>
            ))}
          </select>
        ) : null}
        <AccountBar accounts={accounts} />
      </header>
      <main className="explorer-editor">
        <GraphiQL
          {...tabs}
          fetcher={fetcher}
          storage={storage}
          onSchemaChange={onSchemaChange}
          defaultEditorToolsVisibility="variables"
          shouldPersistHeaders={false}
          showPersistHeadersSettings={false}
        >
          <GraphiQL.Logo>GraphiQL</GraphiQL.Logo>
          <GraphiQL.Toolbar>
            {({ prettify, merge, copy }) => (
              <>
                {prettify}
                {merge}
                {copy}
                <ShareButton scrub={scrub} />
              </>
            )}
          </GraphiQL.Toolbar>
          <GraphiQL.Footer>
            <Outcome traces={settings.traces} />
          </GraphiQL.Footer>
          <Editors opener={open} />
        </GraphiQL>
      </main>
    </div>
  );
}

/** Has the editors go along with keyboard and system theme, and opens operations in tabs of their own. */
function Editors({ opener }) {
  const { addTab, setTheme } = useGraphiQLActions();
  const theme = useGraphiQL((state) => state.theme);
  useEffect(() => {
    const root = document.querySelector(".graphiql-container");
    const undo = [mendTabs(root), freeTabKey(root)];
    return () => undo.forEach((each) => each());
  }, []);
  useEffect(() => {
    const system = window.matchMedia("(prefers-color-scheme: dark)");
    const follow = () => setTheme(theme);
    system.addEventListener("change", follow);
    return () => system.removeEventListener("change", follow);
  }, [theme, setTheme]);
  const query = useGraphiQL((state) => state.queryEditor);
  const variables = useGraphiQL((state) => state.variableEditor);
  opener.current = (example) => {
    addTab();
    query?.setValue(example.query);
    variables?.setValue(example.variables ?? "");
  };
  return null;
}

function ShareButton({ scrub }) {
  const [query] = useOperationsEditorState();
  const [variables] = useVariablesEditorState();
  const [notice, setNotice] = useState("");
  useEffect(() => {
    if (!notice) return undefined;
    const timer = window.setTimeout(() => setNotice(""), NOTICE_MS);
    return () => window.clearTimeout(timer);
  }, [notice]);
  const share = async () => {
    const link = makeLink(query, variables, scrub);
    try {
      await window.navigator.clipboard.writeText(link);
      setNotice("Link copied");
    } catch {
      window.prompt("A link to this operation:", link); // a page without TLS has no clipboard
    }
  };
  return (
    <>
      <ToolbarButton label="Copy a link to this operation" onClick={share}>
        <svg className="graphiql-toolbar-icon" viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="2" aria-hidden="true">
          <path d="M10 14a4 4 0 0 0 5.7 0l3.6-3.6a4 4 0 0 0-5.7-5.7L12 6.3M14 10a4 4 0 0 0-5.7 0l-3.6 3.6a4 4 0 0 0 5.7 5.7L12 17.7" />
        </svg>
      </ToolbarButton>
      <output className="explorer-notice">{notice}</output>
    </>
  );
}
