// Loads a committed object file into the kernel and finds its programs and maps. Owns the descriptors of both until
// it is closed; links made from them keep what they need alive by themselves.

import { readFileSync } from 'node:fs';
import { Slab } from '../mesh/io/slab.ts';
import { BpfError, systemError } from './bpf-error.ts';
import { type Handle, libbpf } from './libbpf.ts';
import { errno } from '../mesh/io/libc.ts';

export type ObjectName = 'redirect' | 'inbound';

const logBytes = 64 * 1024;
/** `struct bpf_object_open_opts` of libbpf 1.0: sz at 0, kernel_log_buf at 56, _size at 64, _level at 72. */
const optionsBytes = 80;

/** Read once: the inbound object is loaded for every pod. */
const files = new Map<ObjectName, Slab>();
/** Loading is synchronous, so one log is enough. */
let sharedLog: Slab | undefined;

function objectFile(name: ObjectName): Slab {
  let elf = files.get(name);
  if (elf === undefined) {
    const bytes = readFileSync(new URL(`./obj/${name}.bpf.o`, import.meta.url));
    elf = new Slab(bytes.length);
    elf.bytes.set(bytes);
    files.set(name, elf);
  }
  return elf;
}

export class BpfObject {
  readonly name: ObjectName;
  #handle: Handle;

  /**
   * @param options.pins map name to path: a map pinned there already is used again, otherwise it is pinned there.
   * @param options.maps map name to descriptor of a map that is there already and is used in its place.
   * @throws BpfError load-failed (with the verifier's last lines), incompatible-pins
   */
  static load(
    name: ObjectName,
    options?: { readonly pins?: ReadonlyMap<string, string>; readonly maps?: ReadonlyMap<string, number> },
  ): BpfObject {
    sharedLog ??= new Slab(logBytes);
    const log = sharedLog;
    log.bytes[0] = 0;
    const handle = open(name, objectFile(name), log);
    const object = new BpfObject(name, handle);
    try {
      for (const [map, path] of options?.pins ?? []) {
        libbpf().mapSetPinPath(object.#map(map), path);
      }
      for (const [map, fd] of options?.maps ?? []) {
        const reused = libbpf().mapReuse(object.#map(map), fd);
        if (reused < 0)
          throw systemError('load-failed', `Could not share map "${map}" with "${name}.bpf.o"`, -reused);
      }
      const result = libbpf().objectLoad(handle);
      if (result < 0) throw loadError(name, -result, log);
    } catch (error) {
      object.close();
      throw error;
    }
    return object;
  }

  private constructor(name: ObjectName, handle: Handle) {
    this.name = name;
    this.#handle = handle;
  }

  /** Valid until `close`. */
  programFd(name: string): number {
    const program = libbpf().objectFindProgram(this.#handle, name);
    if (Number(program) === 0) {
      throw new BpfError(
        'load-failed',
        `Could not find program "${name}" in "${this.name}.bpf.o": the file is of another version`,
      );
    }
    return libbpf().programFd(program);
  }

  /** Valid until `close`. */
  mapFd(name: string): number {
    return libbpf().mapFd(this.#map(name));
  }

  /** Idempotent. */
  close(): void {
    if (Number(this.#handle) === 0) return;
    libbpf().objectClose(this.#handle);
    this.#handle = 0;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #map(name: string): Handle {
    const map = libbpf().objectFindMap(this.#handle, name);
    if (Number(map) === 0) {
      throw new BpfError(
        'load-failed',
        `Could not find map "${name}" in "${this.name}.bpf.o": the file is of another version`,
      );
    }
    return map;
  }
}

function open(name: string, elf: Slab, log: Slab): Handle {
  const options = new Slab(optionsBytes + 16);
  const objectName = options.address + optionsBytes;
  options.bytes.fill(0);
  options.bytes.writeBigUInt64LE(BigInt(optionsBytes), 0);
  options.bytes.writeBigUInt64LE(BigInt(objectName), 8);
  options.bytes.writeBigUInt64LE(BigInt(log.address), 56);
  options.bytes.writeBigUInt64LE(BigInt(log.bytes.length), 64);
  options.bytes.write(name.slice(0, 15), optionsBytes, 'latin1');
  const handle = libbpf().objectOpenMem(elf.address, elf.bytes.length, options.address);
  if (Number(handle) === 0) {
    throw systemError(
      'load-failed',
      `Could not read "${name}.bpf.o"`,
      errno(),
      'libbpf 1.0 or later is needed',
    );
  }
  return handle;
}

const EPERM = 1;
const EINVAL = 22;

function loadError(name: string, code: number, log: Slab): BpfError {
  const end = log.bytes.indexOf(0);
  const lines = log.bytes
    .toString('utf8', 0, end < 0 ? undefined : end)
    .trim()
    .split('\n');
  const tail = lines.slice(-4).join(' | ');
  if (code === EPERM) {
    return systemError(
      'not-permitted',
      `Could not load "${name}.bpf.o"`,
      code,
      'it needs root or CAP_BPF and CAP_NET_ADMIN',
    );
  }
  if (code === EINVAL && tail === '') {
    return systemError(
      'incompatible-pins',
      `Could not load "${name}.bpf.o"`,
      code,
      'the maps pinned by another version do not fit: remove that instance first',
    );
  }
  return systemError(
    'load-failed',
    `Could not load "${name}.bpf.o"`,
    code,
    tail === '' ? 'the kernel gave no reason' : `the kernel says: ${tail}`,
  );
}
