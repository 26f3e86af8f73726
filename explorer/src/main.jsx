import "graphiql/setup-workers/vite";
import { createRoot } from "react-dom/client";
import { Explorer } from "./Explorer.jsx";
import { loadSettings } from "./settings.js";
import "graphiql/style.css";
import "./explorer.css";

const settings = await loadSettings();
document.title = `${settings.title} · GraphQL`;
createRoot(document.getElementById("explorer")).render(<Explorer settings={settings} />);
