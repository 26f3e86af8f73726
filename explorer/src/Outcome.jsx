import { useState } from "react";
import { useRun } from "./runs.js";
import { ms, size } from "./trace.js";
import { TracePanel } from "./TracePanel.jsx";

/** The line below an answer: what became of the request, and what there is to see behind it. */
export function Outcome({ traces }) {
  const run = useRun();
  const [open, setOpen] = useState(null);
  const isStream = run.kind === "subscription" || run.eventCount > 1;
  const panels = [
    ["trace", "Plan and trace"],
    ["headers", "Headers"],
    ...(isStream ? [["events", run.kind === "subscription" ? "Events" : "Parts"]] : []),
  ];
  return (
    <section className={`outcome${run.phase === "running" || run.phase === "streaming" ? " busy" : ""}`} aria-label="Outcome">
      <div className="outcome-line">
        <output aria-label="Status">{said(run)}</output>
        {panels.map(([name, title]) => (
          <button key={name} type="button" className="plain" aria-expanded={open === name} onClick={() => setOpen(open === name ? null : name)}>
            {title}
          </button>
        ))}
      </div>
      {open ? (
        <div className="outcome-panel">
          {open === "trace" ? <TracePanel run={run} traces={traces} /> : null}
          {open === "headers" ? <HeadersPanel headers={run.headers} /> : null}
          {open === "events" && isStream ? <EventsPanel events={run.events} /> : null}
        </div>
      ) : null}
    </section>
  );
}

function said(run) {
  if (run.phase === "none") return "nothing run yet";
  if (run.phase === "running") return "under way…";
  const parts = [];
  if (run.status) parts.push(`${run.status} ${run.statusText ?? ""}`.trim());
  else parts.push(run.statusText || "failed");
  parts.push(size(run.bytes), ms(run.ms));
  if (run.kind === "subscription") parts.push(run.eventCount === 1 ? "1 event" : `${run.eventCount} events`);
  else if (run.eventCount > 1) parts.push(`${run.eventCount} parts`);
  if (run.phase === "streaming") parts.push("open");
  if (run.phase === "failed" && run.status) parts.push("broken off");
  return parts.join(" · ");
}

function HeadersPanel({ headers }) {
  if (headers.length === 0) return <p className="trace-nothing">No answer yet.</p>;
  return (
    <table className="outcome-headers">
      <caption>Response headers</caption>
      <tbody>
        {headers.map(([name, value]) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td>{value}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function EventsPanel({ events }) {
  return (
    <ol className="outcome-events" aria-label="Newest first" tabIndex={0}>
      {events.map(({ number, at, text }) => (
        <li key={number}>
          <span>
            {number} · {at.toLocaleTimeString()}
          </span>
          <code>{text}</code>
        </li>
      ))}
    </ol>
  );
}
