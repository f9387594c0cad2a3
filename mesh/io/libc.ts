// The libc calls of the I/O layer, through FFI. Addresses are numbers (`uintptr_t`): no object is made per call.
// Owns signatures and constants (Linux, x86-64 and arm64); knows nothing of what they are used for.

import koffi from 'koffi';

const libc = koffi.load('libc.so.6');
const bind_ = (signature: string) => libc.func(signature);

export const epollCreate = bind_('int epoll_create1(int flags)') as (flags: number) => number;
export const epollControl = bind_('int epoll_ctl(int epfd, int op, int fd, uintptr_t event)') as (
  epfd: number,
  operation: number,
  fd: number,
  event: number,
) => number;
export const epollWait = bind_('int epoll_wait(int epfd, uintptr_t events, int max, int timeout)') as (
  epfd: number,
  events: number,
  max: number,
  timeoutMs: number,
) => number;
export const eventfd = bind_('int eventfd(uint32 initial, int flags)') as (
  initial: number,
  flags: number,
) => number;
export const readFd = bind_('int64 read(int fd, uintptr_t buffer, uint64 count)') as (
  fd: number,
  buffer: number,
  count: number,
) => number;
export const writeFd = bind_('int64 write(int fd, uintptr_t buffer, uint64 count)') as (
  fd: number,
  buffer: number,
  count: number,
) => number;
export const socket = bind_('int socket(int domain, int type, int protocol)') as (
  domain: number,
  type: number,
  protocol: number,
) => number;
export const bind = bind_('int bind(int fd, uintptr_t address, uint32 length)') as (
  fd: number,
  address: number,
  length: number,
) => number;
export const listen = bind_('int listen(int fd, int backlog)') as (fd: number, backlog: number) => number;
export const accept4 = bind_('int accept4(int fd, uintptr_t address, uintptr_t length, int flags)') as (
  fd: number,
  address: number,
  length: number,
  flags: number,
) => number;
export const connect = bind_('int connect(int fd, uintptr_t address, uint32 length)') as (
  fd: number,
  address: number,
  length: number,
) => number;
export const recv = bind_('int64 recv(int fd, uintptr_t buffer, uint64 length, int flags)') as (
  fd: number,
  buffer: number,
  length: number,
  flags: number,
) => number;
export const send = bind_('int64 send(int fd, uintptr_t buffer, uint64 length, int flags)') as (
  fd: number,
  buffer: number,
  length: number,
  flags: number,
) => number;
export const shutdown = bind_('int shutdown(int fd, int how)') as (fd: number, how: number) => number;
export const close = bind_('int close(int fd)') as (fd: number) => number;
export const flock = bind_('int flock(int fd, int operation)') as (fd: number, operation: number) => number;
export const setsockopt = bind_(
  'int setsockopt(int fd, int level, int name, uintptr_t value, uint32 length)',
) as (fd: number, level: number, name: number, value: number, length: number) => number;
export const getsockopt = bind_(
  'int getsockopt(int fd, int level, int name, uintptr_t value, uintptr_t length)',
) as (fd: number, level: number, name: number, value: number, length: number) => number;
export const getsockname = bind_('int getsockname(int fd, uintptr_t address, uintptr_t length)') as (
  fd: number,
  address: number,
  length: number,
) => number;
export const getpeername = bind_('int getpeername(int fd, uintptr_t address, uintptr_t length)') as (
  fd: number,
  address: number,
  length: number,
) => number;
const strerror = bind_('const char* strerror(int code)') as (code: number) => string;

/** The calling thread's errno; valid only directly after a failed call. */
export function errno(): number {
  return koffi.errno();
}

/** For messages: `ECONNREFUSED (Connection refused)` style text of an errno. */
export function describeErrno(code: number): string {
  const names = koffi.os.errno as Readonly<Record<string, number>>;
  const name = Object.keys(names).find((key) => names[key] === code);
  return `${name ?? `errno ${code}`}: ${strerror(code)}`;
}

export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const EFD_NONBLOCK = SOCK_NONBLOCK;
export const EFD_CLOEXEC = SOCK_CLOEXEC;

/** flock() operations. */
export const LOCK_EX = 2;
export const LOCK_NB = 4;
export const LOCK_UN = 8;

export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_ERROR = 4;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_KEEPALIVE = 9;
export const SO_LINGER = 13;
export const SO_REUSEPORT = 15;
export const SO_MARK = 36;
export const IPPROTO_IP = 0;
export const IPPROTO_TCP = 6;
export const IPPROTO_IPV6 = 41;
export const IPV6_V6ONLY = 26;
export const IP_BIND_ADDRESS_NO_PORT = 24;
export const TCP_NODELAY = 1;
export const TCP_KEEPIDLE = 4;
export const TCP_KEEPINTVL = 5;
export const TCP_KEEPCNT = 6;
export const TCP_USER_TIMEOUT = 18;
export const TCP_FASTOPEN_CONNECT = 30;
export const TCP_FASTOPEN_NO_COOKIE = 34;

export const SHUT_WR = 1;
export const MSG_NOSIGNAL = 0x4000;

export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;
export const EPOLLIN = 0x1;
export const EPOLLPRI = 0x2;
export const EPOLLOUT = 0x4;
export const EPOLLERR = 0x8;
export const EPOLLHUP = 0x10;
export const EPOLLRDHUP = 0x2000;
export const EPOLLET = 0x80000000;
export const EPOLLEXCLUSIVE = 0x10000000;

export const EPERM = 1;
export const EINTR = 4;
export const EAGAIN = 11;
export const EMFILE = 24;
export const EADDRINUSE = 98;
export const ENFILE = 23;
export const EPIPE = 32;
export const ECONNABORTED = 103;
export const ECONNRESET = 104;
export const ENOBUFS = 105;
export const ENOMEM = 12;
export const EINPROGRESS = 115;
export const ETIMEDOUT = 110;
export const ECONNREFUSED = 111;
