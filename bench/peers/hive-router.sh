#!/usr/bin/env bash
# Hive Router, the binary that HIVE_ROUTER names: hive-router.sh true|false, whether requests in flight are shared
set -euo pipefail
cat > "$FOLDER/hive-router.yaml" <<END
log: {level: error}
http: {host: 127.0.0.1, port: $PORT}
traffic_shaping:
  all: {dedupe_enabled: $1}
  router: {dedupe: {enabled: $1}}
END
export SUPERGRAPH_FILE_PATH="$SUPERGRAPH" ROUTER_CONFIG_FILE_PATH="$FOLDER/hive-router.yaml"
exec "${HIVE_ROUTER:?names no binary: see bench/peers.toml}"
