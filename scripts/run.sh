#!/bin/sh
# Set-up, then a TypeScript program on the project's own Node 26.
set -eu
cd "$(dirname "$0")/.."
exec node_modules/node/bin/node "$@"
