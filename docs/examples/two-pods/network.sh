#!/bin/sh
# Makes (`up`) or removes (`down`) the two pods of mesh.yaml: network namespaces joined by one virtual cable. Needs root.
set -eu

case ${1-} in
  up)
    ip netns add weft-web
    ip netns add weft-api
    ip link add eth0 netns weft-web type veth peer name eth0 netns weft-api
    ip -n weft-web address add 10.88.0.1/24 dev eth0
    ip -n weft-api address add 10.88.0.2/24 dev eth0
    for pod in weft-web weft-api; do
      ip -n "$pod" link set lo up
      ip -n "$pod" link set eth0 up
      # Any address does: the mesh answers DNS itself, and a loopback address would not be captured.
      mkdir -p "/etc/netns/$pod"
      printf 'nameserver 10.96.0.53\nsearch shop.svc.cluster.local svc.cluster.local\n' >"/etc/netns/$pod/resolv.conf"
    done
    ;;
  down)
    for pod in weft-web weft-api; do
      ip netns delete "$pod" || true
      rm -rf "/etc/netns/$pod"
    done
    ;;
  *)
    echo "Usage: $0 up|down" >&2
    exit 64
    ;;
esac
