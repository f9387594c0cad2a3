#!/bin/bash
# Process 1 of a local node. Its namespaces (mount, pid, network, uts, ipc, cgroup) are already its own; this gives it a
# machine's file systems, starts its services and, as init does, starts again what ends.
# Usage: node-init.sh NODE STATE NODE_DIR PROGRAMS NODE_IP. bash, because it reaps the orphans it adopts.
set -euo pipefail
node=$1 state=$2 dir=$3 programs=$4 ip=$5

hostname "$node"
# Volumes with mount propagation need a shared root; nothing reaches out, because the namespace was made private first.
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/lock

# The machine's hierarchies again, each through the cgroup namespace: the node's directory is their root.
hierarchies=$(awk '$3 == "cgroup" || $3 == "cgroup2" { print $2, $3, $4 }' /proc/self/mounts)
umount -R /sys/fs/cgroup
umount -R /sys/fs/bpf 2>/dev/null || true
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
printf '%s\n' "$hierarchies" | while read -r path type options; do
  mkdir -p "$path"
  case $type in
    cgroup2) mount -t cgroup2 cgroup2 "$path" ;;
    cgroup) mount -t cgroup -o "$(printf '%s' "$options" | sed -E 's/(^|,)(rw|ro|nosuid|nodev|noexec|relatime)//g; s/^,//')" cgroup "$path" ;;
  esac
done
mount -t bpf bpf /sys/fs/bpf

# The node's disk.
own() {
  mkdir -p "$dir/disk/$1" "$2"
  mount --bind "$dir/disk/$1" "$2"
}
own kubelet /var/lib/kubelet
own containerd /var/lib/containerd
own cni-conf /etc/cni/net.d
own cni-bin /opt/cni/bin
# Debian's plugins, at the place that most nodes have them at; each node may add its own.
ln -sf /usr/lib/cni/* /opt/cni/bin/
own cni-state /var/lib/cni
own weft /var/lib/weft
own pod-logs /var/log/pods
own container-logs /var/log/containers
# The kubelet wants values here that belong to the whole machine: it reads these files in their place.
(cd "$state/sysctl" && find . -type f) | while read -r file; do
  mount --bind "$state/sysctl/$file" "/proc/sys/$file"
done
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
[ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables

# service NAME COMMAND...: starts it again whenever it ends; its process id is in $dir/pids/NAME.
mkdir -p "$dir/pids" "$dir/log"
service() {
  local name=$1
  shift
  while :; do
    "$@" >>"$dir/log/$name.log" 2>&1 &
    echo $! >"$dir/pids/$name"
    wait $! || true
    sleep 0.2
  done &
}

service containerd containerd --config "$dir/containerd.toml"
until ctr version >/dev/null 2>&1; do sleep 0.1; done
# Before the kubelet, which would otherwise ask a registry and then back off.
if [ ! -e "$dir/disk/images-imported" ]; then
  for archive in "$state"/images/*.tar; do ctr -n k8s.io images import "$archive" >>"$dir/log/import.log" 2>&1; done
  touch "$dir/disk/images-imported"
fi
# A kubelet that starts before the API server answers waits up to 7 s between attempts to register.
until [ -e "$state/api-ready" ]; do sleep 0.1; done
# As systemd does: a control group of its own, made anew at each start.
own_group='rmdir "$0" 2>/dev/null; mkdir -p "$0" && echo $$ >"$0/cgroup.procs" && exec "$@"'
kubelet_group=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)/kubelet.service
service kubelet bash -c "$own_group" "$kubelet_group" "$programs/kubelet" --config "$dir/kubelet.json" --kubeconfig "$dir/kubelet.kubeconfig" \
  --hostname-override "$node" --node-ip "$ip" --cert-dir "$dir/disk/kubelet/pki" --root-dir /var/lib/kubelet --v=1
service kube-proxy "$programs/kube-proxy" --config "$dir/kube-proxy.json"
trap 'exit 0' TERM
wait
