// Reads the packets of one interface of a lab namespace through an AF_PACKET socket, into memory and a pcap file.
// The socket's own queue holds the packets until `drain`: no process, no thread, no timing. The kernel queues a frame
// before its sender continues, so what was sent before `drain` is seen by it. Packets the queue could not hold are
// counted, never silently missing.

import { closeSync, openSync, writeSync } from 'node:fs';
import { resolve } from 'node:path';
import koffi from 'koffi';
import { LabError } from './lab-error.ts';

const libc = koffi.load('libc.so.6');
const socket = libc.func('int socket(int domain, int type, int protocol)');
const bind = libc.func('int bind(int fd, const uint8_t *address, uint32 length)');
const setsockopt = libc.func(
  'int setsockopt(int fd, int level, int name, const uint8_t *value, uint32 length)',
);
const getsockopt = libc.func('int getsockopt(int fd, int level, int name, uint8_t *value, uint8_t *length)');
const recv = libc.func('int64 recv(int fd, uint8_t *buffer, uint64 length, int flags)');
const setns = libc.func('int setns(int fd, int type)');
const indexOfInterface = libc.func('uint32 if_nametoindex(const char *name)');

const AF_PACKET = 17;
const SOCK_RAW_NONBLOCK_CLOEXEC = 3 | 0o4000 | 0o2000000;
const ETH_P_ALL_BIG_ENDIAN = 0x0300;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SOL_PACKET = 263;
const PACKET_STATISTICS = 6;
const CLONE_NEWNET = 0x40000000;
const queueBytes = 64 << 20;
/** Offloads make frames of up to 64 KiB and headers on a virtual link. */
const largestFrame = 70_000;

export class PacketCapture implements Disposable {
  readonly frames: Buffer[] = [];
  #fd: number;

  /**
   * Starts to capture at once, in a namespace of `ip netns` or one by its path; without a name on all interfaces of the namespace (a frame that is forwarded is then
   * seen once on each). Throws LabError `capture` when the interface is not there.
   */
  constructor(namespace: string, interfaceName?: string) {
    this.#fd = inNamespace(namespace, () => openPacketSocket(interfaceName));
  }

  /** Takes in all frames that were sent so far; throws LabError `capture` when some did not fit the queue. */
  drain(): readonly Buffer[] {
    const buffer = Buffer.allocUnsafe(largestFrame);
    for (;;) {
      const length = Number(recv(this.#fd, buffer, buffer.length, 0));
      if (length < 0) break;
      this.frames.push(Buffer.from(buffer.subarray(0, length)));
    }
    const statistics = Buffer.alloc(8);
    const size = Buffer.alloc(4);
    size.writeUInt32LE(8);
    getsockopt(this.#fd, SOL_PACKET, PACKET_STATISTICS, statistics, size);
    const dropped = statistics.readUInt32LE(4);
    if (dropped > 0)
      throw new LabError('capture', `The capture lost ${dropped} packets; send less while it runs`);
    return this.frames;
  }

  /** As drain(), and forgets them: for a capture that lasts. */
  take(): readonly Buffer[] {
    this.drain();
    return this.frames.splice(0);
  }

  /** Frames so far that hold these bytes. */
  framesWith(bytes: string): number {
    return this.drain().filter((frame) => frame.includes(bytes, 0, 'latin1')).length;
  }

  /** Writes what was captured as a pcap file (link type Ethernet), for tcpdump or Wireshark; times are all zero. */
  save(path: string): void {
    const file = openSync(path, 'w');
    const header = Buffer.alloc(24);
    header.writeUInt32LE(0xa1b2c3d4, 0);
    header.writeUInt16LE(2, 4);
    header.writeUInt16LE(4, 6);
    header.writeUInt32LE(largestFrame, 16);
    header.writeUInt32LE(1, 20);
    writeSync(file, header);
    for (const frame of this.frames) {
      const record = Buffer.alloc(16);
      record.writeUInt32LE(frame.length, 8);
      record.writeUInt32LE(frame.length, 12);
      writeSync(file, record);
      writeSync(file, frame);
    }
    closeSync(file);
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }
}

function openPacketSocket(interfaceName: string | undefined): number {
  // Protocol 0 receives nothing until bind has named the interface.
  const fd = Number(socket(AF_PACKET, SOCK_RAW_NONBLOCK_CLOEXEC, 0));
  if (fd < 0) throw new LabError('capture', 'Opening a packet socket failed; it needs root (CAP_NET_RAW)');
  const size = Buffer.alloc(4);
  size.writeUInt32LE(queueBytes);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, size, 4);
  const address = Buffer.alloc(20);
  address.writeUInt16LE(AF_PACKET, 0);
  address.writeUInt16LE(ETH_P_ALL_BIG_ENDIAN, 2);
  const index = interfaceName === undefined ? 0 : Number(indexOfInterface(interfaceName));
  address.writeInt32LE(index, 4);
  if ((interfaceName !== undefined && index === 0) || Number(bind(fd, address, 20)) < 0) {
    closeSync(fd);
    throw new LabError('capture', `Capturing on interface "${interfaceName}" failed; is it there`);
  }
  return fd;
}

/** Runs `act` in one stretch with this thread inside the namespace, then returns to the thread's own. */
function inNamespace<T>(namespace: string, act: () => T): T {
  const own = openSync('/proc/thread-self/ns/net', 'r');
  const other = openSync(resolve('/run/netns', namespace), 'r');
  try {
    if (Number(setns(other, CLONE_NEWNET)) !== 0) {
      throw new LabError('capture', `Entering network namespace "${namespace}" failed; it needs root`);
    }
    try {
      return act();
    } finally {
      // A thread left in the wrong namespace would break everything after it: better to end here.
      if (Number(setns(own, CLONE_NEWNET)) !== 0) process.abort();
    }
  } finally {
    closeSync(other);
    closeSync(own);
  }
}
