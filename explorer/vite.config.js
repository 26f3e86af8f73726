import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const here = import.meta.dirname;
const output = resolve(here, "../router/trifolio/server/explorer_files");
const pages = resolve(here, "../subgraphs/shared/docs_files");
const pageFiles = ["swagger-ui-bundle.js", "swagger-ui-bundle.js.LICENSE.txt", "swagger-ui.css", "LICENSE", "NOTICE"];
const sources = ["index.html", "package.json", "package-lock.json", "vite.config.js", "src"];

function filesBelow(path) {
  try {
    return readdirSync(path).flatMap((name) => filesBelow(join(path, name)));
  } catch {
    return [path]; // a file, not a folder
  }
}

/** Swagger UI as it was published, for the services' OpenAPI pages. */
function swaggerFiles() {
  return {
    name: "swagger-files",
    closeBundle() {
      rmSync(pages, { recursive: true, force: true });
      mkdirSync(pages);
      for (const name of pageFiles) cpSync(join(here, "node_modules/swagger-ui-dist", name), join(pages, name));
    },
  };
}

/** GraphiQL's style sheet has fonts in its text, 570 kB of them: the page is written in the system's fonts. */
function systemFonts() {
  return {
    name: "system-fonts",
    enforce: "pre",
    transform: (code, id) =>
      /graphiql[\\/]dist[\\/]style\.css$/.test(id) ? code.replace(/@font-face\s*\{[^}]*\}/g, "") : undefined,
  };
}

const COMPRESSED_FROM = 1024; // bytes: what is smaller fits in a packet as it is

/** Every larger file once more in the codings that browsers take, so that the router compresses nothing. */
function compressed() {
  return {
    name: "compressed",
    closeBundle() {
      for (const file of filesBelow(output).filter((each) => !each.endsWith(".md"))) {
        const body = readFileSync(file);
        if (body.length < COMPRESSED_FROM) continue;
        writeFileSync(`${file}.br`, brotliCompressSync(body, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: body.length } }));
        const zipped = gzipSync(body, { level: 9 });
        zipped[9] = 255; // the header's operating system: unknown, so that every machine builds the same
        writeFileSync(`${file}.gz`, zipped);
      }
    },
  };
}

/** Writes what was built from what, as `sha256sum --check` reads it; a test without Node proves that neither side moved alone. */
function checksums() {
  return {
    name: "checksums",
    closeBundle() {
      const files = [...sources.flatMap((name) => filesBelow(join(here, name))), ...filesBelow(output), ...filesBelow(pages)];
      const lines = files.map(
        (file) => `${createHash("sha256").update(readFileSync(file)).digest("hex")}  ${relative(here, file)}`,
      );
      writeFileSync(join(here, "SHA256SUMS"), lines.sort((a, b) => (a.slice(66) < b.slice(66) ? -1 : 1)).join("\n") + "\n");
    },
  };
}

export default defineConfig({
  base: "./", // relative, so that the page works below any prefix
  plugins: [systemFonts(), react(), swaggerFiles(), compressed(), checksums()],
  worker: { format: "es" },
  build: {
    outDir: output,
    emptyOutDir: true,
    assetsDir: "graphql-assets",
    assetsInlineLimit: 0, // a data: URL would need room in the content-security policy
    chunkSizeWarningLimit: 8192,
    rolldownOptions: {
      // React's compiler marks modules with "use no memo", which means nothing once they are bundled.
      onLog: (level, log, report) => log.code === "MODULE_LEVEL_DIRECTIVE" || report(level, log),
    },
    license: { fileName: "THIRD-PARTY-LICENSES.md" },
  },
});
