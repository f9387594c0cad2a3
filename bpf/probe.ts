// Asks the kernel, before anything is attached, whether everything the redirect needs is there. One clear line for
// each thing that is missing; an empty list means that Redirect.open() has what it needs.

import { closeSync, existsSync, readFileSync } from 'node:fs';
import { Slab } from '../mesh/io/slab.ts';
import { BpfError } from './bpf-error.ts';
import { cgroupRoot } from './cgroup-root.ts';
import * as bpf from './libbpf.ts';
import { isBpffs } from './pin-directory.ts';

export interface FeatureProblem {
  /** Short and stable, for example `cgroup/getpeername4`. */
  readonly feature: string;
  /** What has it: a kernel version, a package, a privilege. */
  readonly needed: string;
  readonly message: string;
}

interface Hook {
  readonly feature: string;
  readonly programType: number;
  readonly attachType: number;
  readonly since: string;
}

const sockAddr = bpf.BPF_PROG_TYPE_CGROUP_SOCK_ADDR;
const hooks: readonly Hook[] = [
  {
    feature: 'cgroup/connect4',
    programType: sockAddr,
    attachType: bpf.BPF_CGROUP_INET4_CONNECT,
    since: '4.17',
  },
  {
    feature: 'cgroup/connect6',
    programType: sockAddr,
    attachType: bpf.BPF_CGROUP_INET6_CONNECT,
    since: '4.17',
  },
  {
    feature: 'cgroup/sendmsg4',
    programType: sockAddr,
    attachType: bpf.BPF_CGROUP_UDP4_SENDMSG,
    since: '4.18',
  },
  {
    feature: 'cgroup/sendmsg6',
    programType: sockAddr,
    attachType: bpf.BPF_CGROUP_UDP6_SENDMSG,
    since: '4.18',
  },
  {
    feature: 'cgroup/recvmsg4',
    programType: sockAddr,
    attachType: bpf.BPF_CGROUP_UDP4_RECVMSG,
    since: '5.2',
  },
  {
    feature: 'cgroup/recvmsg6',
    programType: sockAddr,
    attachType: bpf.BPF_CGROUP_UDP6_RECVMSG,
    since: '5.2',
  },
  {
    feature: 'cgroup/getpeername4',
    programType: sockAddr,
    attachType: bpf.BPF_CGROUP_INET4_GETPEERNAME,
    since: '5.8',
  },
  {
    feature: 'cgroup/getpeername6',
    programType: sockAddr,
    attachType: bpf.BPF_CGROUP_INET6_GETPEERNAME,
    since: '5.8',
  },
  {
    feature: 'sockops',
    programType: bpf.BPF_PROG_TYPE_SOCK_OPS,
    attachType: bpf.BPF_CGROUP_SOCK_OPS,
    since: '4.13',
  },
  {
    feature: 'sk_lookup',
    programType: bpf.BPF_PROG_TYPE_SK_LOOKUP,
    attachType: bpf.BPF_SK_LOOKUP,
    since: '5.9',
  },
];

const helpers = [
  {
    feature: 'bpf_get_netns_cookie in cgroup/connect',
    type: sockAddr,
    helper: bpf.BPF_FUNC_get_netns_cookie,
    since: '5.7',
  },
  {
    feature: 'bpf_get_netns_cookie in sockops',
    type: bpf.BPF_PROG_TYPE_SOCK_OPS,
    helper: bpf.BPF_FUNC_get_netns_cookie,
    since: '5.15',
  },
  {
    feature: 'bpf_sk_storage_get in cgroup/connect',
    type: sockAddr,
    helper: bpf.BPF_FUNC_sk_storage_get,
    since: '5.8',
  },
  {
    feature: 'bpf_sk_storage_get in sockops',
    type: bpf.BPF_PROG_TYPE_SOCK_OPS,
    helper: bpf.BPF_FUNC_sk_storage_get,
    since: '5.3',
  },
];

const mapTypes = [
  { feature: 'socket storage map', type: bpf.BPF_MAP_TYPE_SK_STORAGE, since: '5.2' },
  { feature: 'sockmap', type: bpf.BPF_MAP_TYPE_SOCKMAP, since: '4.14' },
  { feature: 'LRU hash map', type: bpf.BPF_MAP_TYPE_LRU_HASH, since: '4.10' },
  { feature: 'ring buffer', type: bpf.BPF_MAP_TYPE_RINGBUF, since: '5.8' },
];

/** Takes some milliseconds; loads and drops tiny programs, attaches nothing. Never throws for a missing feature. */
export function probeFeatures(): FeatureProblem[] {
  if (process.platform !== 'linux')
    return [problem('linux', 'Linux', `The redirect needs Linux, this is ${process.platform}`)];
  const problems = [...probePrivileges(), ...probeMounts()];
  try {
    bpf.libbpf();
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    return [...problems, problem('libbpf', 'libbpf 1.0', error.message)];
  }
  // Without privileges every attempt would fail and tell nothing about the kernel.
  return problems.some(({ feature }) => feature === 'privileges')
    ? problems
    : [...problems, ...probeKernel()];
}

function problem(feature: string, needed: string, message: string): FeatureProblem {
  return { feature, needed, message };
}

const capabilities = { CAP_NET_ADMIN: 12, CAP_SYS_ADMIN: 21 } as const;

/** CAP_SYS_ADMIN is for setns into the pods, and includes what CAP_BPF allows. */
function probePrivileges(): FeatureProblem[] {
  const mask = /^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  const effective = BigInt(`0x${mask}`);
  const missing = (['CAP_SYS_ADMIN', 'CAP_NET_ADMIN'] as const).filter(
    (name) => (effective & (1n << BigInt(capabilities[name]))) === 0n,
  );
  if (missing.length === 0) return [];
  return [
    problem(
      'privileges',
      'root',
      `The redirect needs ${missing.join(' and ')}: run as root or in a privileged container`,
    ),
  ];
}

function probeMounts(): FeatureProblem[] {
  const problems: FeatureProblem[] = [];
  try {
    cgroupRoot();
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    problems.push(problem('cgroup2', 'a cgroup2 mount', error.message));
  }
  // Redirect.open() mounts it itself where the directory is there.
  if (!isBpffs('/sys/fs/bpf') && !existsSync('/sys/fs/bpf')) {
    problems.push(
      problem(
        'bpffs',
        'a BPF file system',
        'The redirect needs /sys/fs/bpf: mount it (mount -t bpf bpf /sys/fs/bpf), in a container from the host',
      ),
    );
  }
  return problems;
}

function probeKernel(): FeatureProblem[] {
  const library = bpf.libbpf();
  const missing = [
    ...hooks.filter((hook) => !loads(hook)),
    ...helpers.filter(({ type, helper }) => library.probeHelper(type, helper, 0) !== 1),
    ...mapTypes.filter(({ type }) => library.probeMapType(type, 0) !== 1),
  ];
  return missing.map(({ feature, since }) =>
    problem(
      feature,
      `kernel ${since}`,
      `The kernel lacks ${feature}: it needs Linux ${since} or later with CONFIG_CGROUP_BPF, 5.15 for everything`,
    ),
  );
}

/** `r0 = 1; exit` loaded for the hook: `struct bpf_insn` is 8 bytes, `expected_attach_type` at 12 of the options. */
function loads(hook: Hook): boolean {
  const program = Buffer.from('b700000001000000' + '9500000000000000', 'hex');
  const slab = new Slab(program.length + 128);
  slab.bytes.fill(0);
  slab.bytes.set(program);
  slab.bytes.writeBigUInt64LE(16n, program.length);
  slab.bytes.writeUInt32LE(hook.attachType, program.length + 12);
  const fd = bpf
    .libbpf()
    .progLoad(hook.programType, 'weft_probe', 'GPL', slab.address, 2, slab.address + program.length);
  if (fd < 0) return false;
  closeSync(fd);
  return true;
}
