import { useMemo, useState } from "react";
import { useNow } from "./clock.js";
import { isUnderWay, sinceTold } from "./runs.js";
import { isRunning, isWrong, ms, operationText, readTimes, readTrace, remarks, traceText, variablesText } from "./trace.js";

const NODE = { width: 148, height: 44, gapX: 44, gapY: 12 };

/** The plan as a graph, each fetch as a bar on a line of time, and one fetch in full. */
export function TracePanel({ run, traces }) {
  const [chosen, setChosen] = useState(0);
  const [notice, setNotice] = useState("");
  if (!traces)
    return <p className="trace-nothing">This router tells no traces. An operator permits them with “traces: true” in router.yaml.</p>;
  if (!run.trace?.plan)
    return <p className="trace-nothing">{run.phase === "running" ? "Under way…" : "Run an operation to see how it is answered."}</p>;
  const { nodes, levels, rows } = readTrace(run.trace, isUnderWay(run));
  const shown = nodes.find((node) => node.id === chosen) ?? nodes[0];
  const copy = async () => {
    try {
      await window.navigator.clipboard.writeText(traceText(run.trace));
      setNotice("Copied");
    } catch {
      setNotice("This page may not copy: it needs https");
    }
  };
  return (
    <div className="trace">
      <div className="trace-head">
        <p>
          <Duration run={run} /> in the router, {nodes.length === 1 ? "1 fetch" : `${nodes.length} fetches`}, plan{" "}
          {run.trace.planCached ? "from the cache" : "made anew"}
        </p>
        <output>{notice}</output>
        <button type="button" className="plain" onClick={copy}>
          Copy as text
        </button>
      </div>
      {nodes.length === 0 ? <p className="trace-nothing">Nothing was asked of any subgraph.</p> : null}
      <PlanGraph nodes={nodes} levels={levels} rows={rows} chosen={shown?.id} onChoose={setChosen} />
      <Times run={run} nodes={nodes} chosen={shown?.id} onChoose={setChosen} />
      {shown ? <FetchDetails node={shown} /> : null}
    </div>
  );
}

/** How long the router has taken, or takes by now. */
function Duration({ run }) {
  const goesOn = isUnderWay(run);
  const now = useNow(goesOn);
  return `${ms(run.trace.durationMs + sinceTold(run, now))}${goesOn ? " so far" : ""}`;
}

function Times({ run, nodes, chosen, onChoose }) {
  const now = useNow(nodes.some(isRunning));
  const { times, lastMs } = readTimes(nodes, run.trace, sinceTold(run, now));
  const width = (value) => `${(100 * value) / lastMs}%`;
  return (
    <ol className="trace-times" aria-label="Fetches by time">
      {nodes.map((node) => (
        <li key={node.id}>
          <button type="button" className="trace-row" aria-pressed={node.id === chosen} onClick={() => onChoose(node.id)}>
            <span className="trace-name">
              #{node.id} {node.subgraph}
            </span>
            <span className="trace-track">
              {node.done ? (
                <span
                  className={`trace-bar${marks(node)}`}
                  style={{ left: width(node.done.startMs), width: width(times.get(node.id)) }}
                />
              ) : null}
            </span>
            <span className="trace-time">{node.done ? `${ms(times.get(node.id))}${isRunning(node) ? "…" : ""}` : "–"}</span>
          </button>
        </li>
      ))}
    </ol>
  );
}

function marks(node) {
  const isSpared = node.done?.cached || node.done?.shared;
  return `${isWrong(node) ? " wrong" : ""}${isSpared ? " spared" : ""}${isRunning(node) ? " running" : ""}`;
}

function PlanGraph({ nodes, levels, rows, chosen, onChoose }) {
  const left = (node) => node.level * (NODE.width + NODE.gapX);
  const top = (node) => node.row * (NODE.height + NODE.gapY);
  const width = levels * (NODE.width + NODE.gapX) - NODE.gapX;
  const height = rows * (NODE.height + NODE.gapY) - NODE.gapY;
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const edges = nodes.flatMap((node) => node.dependsOn.filter((id) => byId.has(id)).map((id) => [byId.get(id), node]));
  if (nodes.length === 0) return null;
  return (
    <div className="trace-graph" role="group" aria-label="Plan" tabIndex={0}>
      <div style={{ position: "relative", width, height }}>
        <svg width={width} height={height} aria-hidden="true">
          {edges.map(([from, to]) => {
            const [x1, y1] = [left(from) + NODE.width, top(from) + NODE.height / 2];
            const [x2, y2] = [left(to), top(to) + NODE.height / 2];
            const bend = NODE.gapX / 2;
            return <path key={`${from.id}-${to.id}`} d={`M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`} />;
          })}
        </svg>
        {nodes.map((node) => (
          <button
            key={node.id}
            type="button"
            className={`trace-node${isWrong(node) ? " wrong" : ""}${node.done ? "" : " unsent"}${isRunning(node) ? " running" : ""}`}
            style={{ left: left(node), top: top(node), width: NODE.width, height: NODE.height }}
            aria-pressed={node.id === chosen}
            title={remarks(node).join(", ")}
            onClick={() => onChoose(node.id)}
          >
            <b>
              #{node.id} {node.subgraph}
            </b>
            <span>{remarks(node).join(", ") || node.kind}</span>
          </button>
        ))}
      </div>
    </div>
  );
}

function FetchDetails({ node }) {
  const operation = node.done?.operation ?? node.operation;
  const shown = useMemo(() => operationText(operation), [operation]);
  const variables = variablesText(node);
  const took = node.done?.ended ? `, took ${ms(node.done.durationMs)}` : "";
  const when = node.done ? `began at ${ms(node.done.startMs)}${took}` : "";
  return (
    <section className="trace-fetch" aria-label="Fetch">
      <h2>
        #{node.id} {node.subgraph}
      </h2>
      <p>{[when, ...remarks(node), node.paths.filter(Boolean).join(", ")].filter(Boolean).join(" · ")}</p>
      <pre tabIndex={0} aria-label="Operation">{shown}</pre>
      {variables ? <pre tabIndex={0} aria-label="Variables">{variables}</pre> : null}
    </section>
  );
}
