#!/bin/sh
# Usage: sh scripts/run.sh FILE [ARGS]
# Sets up what FILE needs, then runs it on the project's own Node 26 (the npm package "node"), whatever Node is on
# the machine. Nothing is done, and nothing printed, when everything is in place. The set-up is scripts/setup.sh.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
file=${1:?Usage: sh scripts/run.sh FILE [ARGS]}
shift
. "$root/scripts/setup.sh"

case $file in
  e2e/demo/main.ts)
    # Help is for everyone; everything else makes namespaces and loads eBPF.
    case " $* " in
      *' --help '* | *' -h '*) setup modules ;;
      *) setup linux root packages modules bpffs ;;
    esac
    ;;
  e2e/kubernetes/main.ts)
    # Without root the programs must be there already; main.ts says which is not.
    if is_root; then setup linux modules kube-packages; else setup linux modules; fi
    ;;
  e2e/main.ts)
    # With kind nothing of the machine's is needed but libbpf, which goes into the image.
    if is_root; then setup linux packages e2e-packages modules; else setup linux modules; fi
    ;;
  e2e/conformance/main.ts)
    setup linux root packages e2e-packages modules
    ;;
  bench/main.ts)
    setup linux root packages bench-packages modules bpffs
    ;;
  scripts/test.ts)
    # Without root the kernel tests skip with a line of their own, so a developer's run needs no root.
    if is_root; then setup linux packages test-packages modules bpffs; else setup linux modules; fi
    ;;
  scripts/ci.ts)
    # Everything that scripts/test.ts, the Kubernetes API and a local cluster take.
    if is_root; then setup linux packages test-packages e2e-packages modules bpffs; else setup linux modules; fi
    ;;
  cli/main.ts)
    case ${1-} in
      up | ztunnel | uncapture)
        case " $* " in
          *' --help '* | *' -h '*) setup modules ;;
          *) setup linux root packages modules bpffs ;;
        esac
        ;;
      *) setup modules ;;
    esac
    ;;
  *)
    setup modules
    ;;
esac

# Types are stripped and sources compiled once, not at each start of each process. As trusted as the sources: who can
# write here can write there. Node notices changed sources by itself.
export NODE_COMPILE_CACHE="${NODE_COMPILE_CACHE-$root/.weft/compile-cache}"
warm=$root/scripts/warm-compile-cache.ts
if [ -n "$NODE_COMPILE_CACHE" ] && [ ! -d "$NODE_COMPILE_CACHE" ] && [ -f "$warm" ]; then
  "$root/node_modules/node/bin/node" "$warm" || true
fi

# The command line takes paths relative to the caller's directory; everything else belongs to the project.
[ "$file" = cli/main.ts ] || cd "$root"
exec "$root/node_modules/node/bin/node" "$root/$file" "$@"
