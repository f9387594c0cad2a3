# Sourced by run.sh: the steps that make a fresh Debian or Ubuntu ready. Owns node modules, Debian packages and the
# bpffs mount; never starts a service, never touches what is already there. Each step first looks whether it has
# something to do, so a later start costs milliseconds. Needs `root` (the project's directory).
# POSIX sh: this runs before any Node of ours exists.

say() { printf 'weft set-up: %s\n' "$*" >&2; }

die() {
  printf 'weft set-up: %s\n' "$*" >&2
  exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# setup STEP...: runs the steps that have something to do, one set-up at a time on this checkout.
setup() {
  pending=
  for step in "$@"; do
    case $step in
      linux) [ "$(uname -s)" = Linux ] || die "Weft needs Linux (kernel 5.15 or later), this is $(uname -s); use a Linux virtual machine" ;;
      root) is_root || die "This needs root, for network namespaces and eBPF; run the same command with sudo" ;;
      modules) modules_ready || pending="$pending modules" ;;
      packages) [ -z "$(missing_packages)" ] || pending="$pending packages" ;;
      test-packages) [ -z "$(missing_test_packages)" ] || pending="$pending test_packages" ;;
      bench-packages) [ -z "$(missing_bench_packages)" ] || pending="$pending bench_packages" ;;
      kube-packages) [ -z "$(missing_kube_packages)" ] || pending="$pending kube_packages" ;;
      e2e-packages) [ -z "$(missing_e2e_packages)" ] || pending="$pending e2e_packages" ;;
      bpffs) bpffs_ready || pending="$pending bpffs" ;;
      *) die "Unknown set-up step \"$step\"" ;;
    esac
  done
  [ -n "$pending" ] || return 0
  mkdir -p "$root/.weft"
  (
    if command -v flock >/dev/null 2>&1; then flock 9; fi
    for step in $pending; do "do_$step" 9>&-; done
  ) 9>"$root/.weft/setup.lock" || exit 1
}

# --- node modules -------------------------------------------------------------------------------------------------

stamp=node_modules/.weft-installed-lock.json

modules_ready() {
  [ -x "$root/node_modules/node/bin/node" ] && cmp -s "$root/package-lock.json" "$root/$stamp"
}

do_modules() {
  if modules_ready; then return 0; fi
  command -v node >/dev/null 2>&1 || die "Found no node; install any Node.js from version 20 on (Debian and Ubuntu: apt-get install nodejs npm)"
  command -v npm >/dev/null 2>&1 || die "Found no npm, which installs the node modules; install it (Debian and Ubuntu: apt-get install npm)"
  major=$(node -p 'process.versions.node.split(".")[0]')
  [ "$major" -ge 20 ] || die "Found Node $major ($(command -v node)), but 20 or later is needed to install the node modules"
  # Node 26 is linked against libatomic, which neither Debian's base system nor the npm package brings.
  install_packages "$(missing_node_packages | tr '\n' ' ')"
  registry_reachable
  say "installing node modules and Node 26 from the npm registry (about 20 s, once)"
  log=$root/.weft/npm.log
  # Not `npm ci`: it refuses a lock file that lacks optional packages of other platforms and deletes node_modules
  # under running programs. `--no-save` installs the locked versions and writes neither package.json nor the lock.
  (cd "$root" && npm install --no-save --no-audit --no-fund >"$log" 2>&1) || {
    tail -n 15 "$log" >&2
    die "Could not install the node modules (npm's output is above and in $log); is the npm registry reachable?"
  }
  # Where npm was told to run no install scripts, the node package has not fetched its binary yet.
  if [ ! -x "$root/node_modules/node/bin/node" ]; then
    (cd "$root/node_modules/node" && node installArchSpecificPackage.js >>"$log" 2>&1) || true
  fi
  "$root/node_modules/node/bin/node" --version >/dev/null 2>&1 ||
    die "The npm package \"node\" brought no Node that runs here ($(uname -m)); see $log"
  cp "$root/package-lock.json" "$root/$stamp"
}

# Without a network npm retries every package for minutes; one ping without a retry tells in a second. Only failures
# of the network count, because not every mirror answers a ping.
registry_reachable() {
  ping=$(npm ping --fetch-retries=0 --fetch-timeout=20000 2>&1) && return 0
  case $ping in
    *EAI_AGAIN* | *ENOTFOUND* | *ECONNREFUSED* | *ENETUNREACH* | *EHOSTUNREACH* | *ETIMEDOUT* | *ECONNRESET*)
      printf '%s\n' "$ping" | grep 'npm error' >&2
      die "Could not reach the npm registry (npm's output is above), which the first start needs; is there a network, or a proxy to set?"
      ;;
  esac
}

# --- Debian packages ----------------------------------------------------------------------------------------------
# What is looked for is the command or the file, not the package: a machine of another distribution that has it is fine.

has_file() {
  for candidate in "$@"; do
    if [ -e "$candidate" ]; then return 0; fi
  done
  return 1
}

has_command() { command -v "$1" >/dev/null 2>&1 || has_file "/usr/sbin/$1" "/sbin/$1"; }

missing_node_packages() {
  has_file /usr/lib/*/libatomic.so.1 /lib/*/libatomic.so.1 /usr/lib64/libatomic.so.1 /usr/lib/libatomic.so.1 || echo libatomic1
}

missing_packages() {
  missing_node_packages
  has_file /usr/lib/*/libbpf.so.1 /lib/*/libbpf.so.1 /usr/lib64/libbpf.so.1 /usr/lib/libbpf.so.1 /usr/local/lib*/libbpf.so.1 || echo libbpf1
  has_command ip || echo iproute2
}

missing_test_packages() {
  has_command gcc || echo gcc
  has_file /usr/include/stdio.h || echo libc6-dev
  has_file /usr/include/linux/bpf.h || echo linux-libc-dev
  has_command openssl || echo openssl
}

missing_bench_packages() {
  missing_test_packages
  has_command nginx || echo nginx
  has_file /usr/lib/nginx/modules/ngx_stream_module.so /usr/lib/*/nginx/modules/ngx_stream_module.so || echo libnginx-mod-stream
  has_command haproxy || echo haproxy
  has_command iperf3 || echo iperf3
  has_command curl || echo curl
  has_command wrk || echo wrk
  has_command h2load || echo nghttp2-client
  has_command nghttpd || echo nghttp2-server
  has_file /usr/lib/python3/dist-packages/pip /usr/lib/python3*/site-packages/pip /usr/local/lib/python3*/*-packages/pip || echo python3-pip
}

missing_kube_packages() {
  [ -x "${KUBEBUILDER_ASSETS:-}/etcd" ] || has_command etcd || echo etcd-server
  has_command ip || echo iproute2
}

# What a cluster of local nodes runs (e2e/cluster/local). CNI plugins are looked for where Debian has them.
missing_e2e_packages() {
  missing_kube_packages
  missing_test_packages
  has_command containerd || echo containerd
  has_command runc || echo runc
  has_file /usr/lib/cni/bridge || echo containernetworking-plugins
  has_command nft || echo nftables
  has_command iptables || echo iptables
  has_file /bin/busybox || echo busybox-static
  has_command sysctl || echo procps
}

do_packages() { install_packages "$(missing_packages | tr '\n' ' ')"; }
do_test_packages() { install_packages "$(missing_test_packages | tr '\n' ' ')"; }
do_e2e_packages() { install_packages "$(missing_e2e_packages | tr '\n' ' ')"; }
do_kube_packages() { install_packages "$(missing_kube_packages | tr '\n' ' ')"; }
do_bench_packages() { install_packages "$(missing_bench_packages | tr '\n' ' ')"; }

install_packages() {
  [ -n "$1" ] || return 0
  by_hand="install by hand: $1"
  command -v apt-get >/dev/null 2>&1 || die "This machine has no apt-get; the Debian names of what is missing, to $by_hand"
  is_root || die "Installing Debian packages needs root; run the same command with sudo, or $by_hand"
  say "installing Debian packages: ${1% }"
  log=$root/.weft/apt.log
  forbid_services
  # A fresh machine has no package lists: try first, update only when that failed.
  # shellcheck disable=SC2086 # a list of names
  if ! apt_install $1 >"$log" 2>&1; then
    { apt-get update -q && apt_install $1; } >>"$log" 2>&1 || {
      allow_services
      tail -n 8 "$log" >&2
      die "Could not install Debian packages (apt's output is above and in $log); is the package mirror reachable? Otherwise $by_hand(libbpf1 is in Debian 12 and Ubuntu 24.04 or later)"
    }
  fi
  allow_services
}

apt_install() {
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" </dev/null
}

# nginx and haproxy would start as services and take ports; Debian's hook against that is policy-rc.d.
policy=/usr/sbin/policy-rc.d

forbid_services() {
  [ ! -e "$policy" ] || return 0
  trap allow_services EXIT
  trap 'exit 130' INT TERM
  printf '#!/bin/sh\n# weft set-up\nexit 101\n' >"$policy"
  chmod 755 "$policy"
}

allow_services() {
  if grep -q '^# weft set-up$' "$policy" 2>/dev/null; then rm -f "$policy"; fi
}

# --- bpffs --------------------------------------------------------------------------------------------------------

bpffs_ready() { grep -q ' /sys/fs/bpf bpf ' /proc/mounts; }

do_bpffs() {
  if bpffs_ready; then return 0; fi
  [ -d /sys/fs/bpf ] || die "This kernel has no /sys/fs/bpf; it was built without CONFIG_BPF_SYSCALL, or /sys is not mounted"
  mount -t bpf bpf /sys/fs/bpf || die "Could not mount the BPF file system at /sys/fs/bpf; inside a container this needs --privileged"
  say "mounted the BPF file system at /sys/fs/bpf"
}
