#!/usr/bin/env bash
# Grafbase, which composes the subgraphs' schemas itself: grafbase.sh true|false, whether requests in flight are shared
set -euo pipefail
binary="$PWD/node_modules/@grafbase/cli-x86_64-unknown-linux-musl/grafbase"
export HOME="$FOLDER"
cd "$FOLDER"
{
  printf '[traffic_shaping]\ninflight_deduplication = %s\n\n[telemetry.tracing]\nsampling = 0\n\n' "$1"
  for schema in "$SCHEMAS"/*.graphql; do
    name="$(basename "$schema" .graphql)"
    printf '[subgraphs.%s]\nurl = "%s"\nschema_path = "%s"\n\n' "$name" "$SUBGRAPHS$name" "$schema"
  done
} > grafbase.toml
exec "$binary" dev -c grafbase.toml --listen-address "127.0.0.1:$PORT"
