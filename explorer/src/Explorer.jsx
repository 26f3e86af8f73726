import { GraphiQL } from "graphiql";
import { useMemo, useState } from "react";
import { createFetcher } from "./fetcher.js";
import { TokenField } from "./TokenField.jsx";
import { findToken, readToken, writeToken } from "./token.js";
import logo from "./trifolio.svg";

const EMPTY_TAB = [{ query: "# Write a query here, then press the play button or Ctrl-Enter.\n\nquery {\n  __typename\n}\n" }];

function tabsOf(examples) {
  return examples.map(({ query, variables }) => ({ query, variables: variables || null }));
}

/** The page: a bar with the product's name, short help and the token, above GraphiQL. */
export function Explorer({ settings }) {
  const [token, setToken] = useState(readToken);
  const [offered, setOffered] = useState(null);
  const fetcher = useMemo(
    () => createFetcher({ readToken, onAnswer: (answer) => setOffered((last) => findToken(answer?.data) ?? last) }),
    [],
  );
  const tabs = settings.examples.length > 0 ? tabsOf(settings.examples) : EMPTY_TAB;
  return (
    <div className="explorer">
      <header className="explorer-bar">
        <img src={logo} alt="" width="32" height="32" />
        <div className="explorer-title">
          <h1>{settings.title}</h1>
          <p>One graph over every subgraph. The tabs are examples, the book icon opens the schema, Ctrl-Enter runs.</p>
        </div>
        <TokenField token={token} offered={offered} onChange={(text) => setToken(writeToken(text))} />
      </header>
      <main className="explorer-editor">
        <GraphiQL
          fetcher={fetcher}
          storage={window.sessionStorage}
          defaultTabs={tabs}
          defaultEditorToolsVisibility="variables"
          shouldPersistHeaders={false}
          showPersistHeadersSettings={false}
        >
          <GraphiQL.Logo>GraphiQL</GraphiQL.Logo>
        </GraphiQL>
      </main>
    </div>
  );
}
