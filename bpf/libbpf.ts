// The libbpf calls used here, through FFI (libbpf 1.0 or later: Debian and Ubuntu package libbpf1). Owns signatures
// and kernel constants. Every call returns -errno on failure, as libbpf 1.x does. Loaded at the first use, so that
// a machine without the library gets a clear error instead of a failing import.

import koffi from 'koffi';
import { BpfError } from './bpf-error.ts';

export const BPF_PROG_TYPE_SOCK_OPS = 13;
export const BPF_PROG_TYPE_CGROUP_SOCK_ADDR = 18;
export const BPF_PROG_TYPE_SK_LOOKUP = 30;

export const BPF_CGROUP_SOCK_OPS = 3;
export const BPF_CGROUP_INET4_CONNECT = 10;
export const BPF_CGROUP_INET6_CONNECT = 11;
export const BPF_CGROUP_UDP4_SENDMSG = 14;
export const BPF_CGROUP_UDP6_SENDMSG = 15;
export const BPF_CGROUP_UDP4_RECVMSG = 19;
export const BPF_CGROUP_UDP6_RECVMSG = 20;
export const BPF_CGROUP_INET4_GETPEERNAME = 29;
export const BPF_CGROUP_INET6_GETPEERNAME = 30;
export const BPF_SK_LOOKUP = 36;

export const BPF_MAP_TYPE_LRU_HASH = 9;
export const BPF_MAP_TYPE_SOCKMAP = 15;
export const BPF_MAP_TYPE_SK_STORAGE = 24;
export const BPF_MAP_TYPE_RINGBUF = 27;

export const BPF_FUNC_sk_storage_get = 107;
export const BPF_FUNC_get_netns_cookie = 122;

/** An opaque `struct bpf_object *` and the like: an address, or 0. */
export type Handle = bigint | number;

export interface Libbpf {
  objectOpenMem(bytes: number, size: number, options: number): Handle;
  objectLoad(object: Handle): number;
  objectClose(object: Handle): void;
  objectFindProgram(object: Handle, name: string): Handle;
  objectFindMap(object: Handle, name: string): Handle;
  programFd(program: Handle): number;
  mapFd(map: Handle): number;
  mapSetPinPath(map: Handle, path: string): number;
  mapReuse(map: Handle, fd: number): number;
  mapLookup(fd: number, key: number, value: number): number;
  mapUpdate(fd: number, key: number, value: number, flags: number): number;
  mapDelete(fd: number, key: number): number;
  mapNextKey(fd: number, key: number, next: number): number;
  linkCreate(program: number, target: number, attachType: number, options: number): number;
  linkUpdate(link: number, program: number, options: number): number;
  linkDetach(link: number): number;
  pin(fd: number, path: string): number;
  get(path: string): number;
  info(fd: number, info: number, length: number): number;
  progLoad(
    type: number,
    name: string,
    license: string,
    instructions: number,
    count: number,
    options: number,
  ): number;
  progById(id: number): number;
  progTestRun(program: number, options: number): number;
  probeHelper(programType: number, helper: number, options: number): number;
  probeProgramType(type: number, options: number): number;
  probeMapType(type: number, options: number): number;
  ringBufferNew(fd: number, onSample: unknown, context: number, options: number): Handle;
  ringBufferConsume(ring: Handle): number;
  ringBufferFree(ring: Handle): void;
}

/** Type of the callback of `ringBufferNew`, for koffi.register: context, address, size; 0 goes on. */
export const ringSample = koffi.pointer(
  koffi.proto('weft_ring_sample', 'int', ['uintptr_t', 'uintptr_t', 'size_t']),
);

let loaded: Libbpf | undefined;

/** @throws BpfError libbpf-missing */
export function libbpf(): Libbpf {
  loaded ??= load();
  return loaded;
}

function load(): Libbpf {
  let library: ReturnType<typeof koffi.load>;
  try {
    library = koffi.load('libbpf.so.1');
  } catch (cause) {
    throw new BpfError('libbpf-missing', 'Could not load libbpf.so.1: install the package libbpf1', {
      cause,
    });
  }
  const bind = <F>(signature: string) => library.func(signature) as F;
  // Silent: what went wrong is told by our errors, with the verifier's log.
  bind<(print: null) => unknown>('void *libbpf_set_print(void *print)')(null);
  return {
    objectOpenMem: bind('uintptr_t bpf_object__open_mem(uintptr_t bytes, size_t size, uintptr_t options)'),
    objectLoad: bind('int bpf_object__load(uintptr_t object)'),
    objectClose: bind('void bpf_object__close(uintptr_t object)'),
    objectFindProgram: bind('uintptr_t bpf_object__find_program_by_name(uintptr_t object, const char *name)'),
    objectFindMap: bind('uintptr_t bpf_object__find_map_by_name(uintptr_t object, const char *name)'),
    programFd: bind('int bpf_program__fd(uintptr_t program)'),
    mapFd: bind('int bpf_map__fd(uintptr_t map)'),
    mapSetPinPath: bind('int bpf_map__set_pin_path(uintptr_t map, const char *path)'),
    mapReuse: bind('int bpf_map__reuse_fd(uintptr_t map, int fd)'),
    mapLookup: bind('int bpf_map_lookup_elem(int fd, uintptr_t key, uintptr_t value)'),
    mapUpdate: bind('int bpf_map_update_elem(int fd, uintptr_t key, uintptr_t value, uint64 flags)'),
    mapDelete: bind('int bpf_map_delete_elem(int fd, uintptr_t key)'),
    mapNextKey: bind('int bpf_map_get_next_key(int fd, uintptr_t key, uintptr_t next)'),
    linkCreate: bind('int bpf_link_create(int program, int target, int type, uintptr_t options)'),
    linkUpdate: bind('int bpf_link_update(int link, int program, uintptr_t options)'),
    linkDetach: bind('int bpf_link_detach(int link)'),
    pin: bind('int bpf_obj_pin(int fd, const char *path)'),
    get: bind('int bpf_obj_get(const char *path)'),
    info: bind('int bpf_obj_get_info_by_fd(int fd, uintptr_t info, uintptr_t length)'),
    progLoad: bind(
      'int bpf_prog_load(int type, const char *name, const char *license, uintptr_t insns, size_t count, uintptr_t options)',
    ),
    progById: bind('int bpf_prog_get_fd_by_id(uint32 id)'),
    progTestRun: bind('int bpf_prog_test_run_opts(int program, uintptr_t options)'),
    probeHelper: bind('int libbpf_probe_bpf_helper(int program_type, int helper, uintptr_t options)'),
    probeProgramType: bind('int libbpf_probe_bpf_prog_type(int type, uintptr_t options)'),
    probeMapType: bind('int libbpf_probe_bpf_map_type(int type, uintptr_t options)'),
    ringBufferNew: library.func('ring_buffer__new', 'uintptr_t', [
      'int',
      ringSample,
      'uintptr_t',
      'uintptr_t',
    ]) as Libbpf['ringBufferNew'],
    ringBufferConsume: bind('int ring_buffer__consume(uintptr_t ring)'),
    ringBufferFree: bind('void ring_buffer__free(uintptr_t ring)'),
  };
}
