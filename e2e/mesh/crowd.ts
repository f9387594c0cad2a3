// The client of the test of many connections, inside a pod: opens as many as it is told as fast as they are taken,
// writes one byte on each and keeps them. Driven over Node's channel: { open: [host, port, count] }, { close: count },
// { ping: true }; after each command, and whenever nothing changed for a moment, it sends how many stand.

import { connect, type Socket } from 'node:net';

interface Command {
  readonly open?: readonly [host: string, port: number, count: number];
  readonly close?: number;
  readonly ping?: true;
}

export interface Crowd {
  readonly connected: number;
  /** Connections that answered since they were last asked. */
  readonly answered: number;
  readonly errors: Readonly<Record<string, number>>;
}

/** Connects under way at once. */
const parallel = 64;
const open = new Set<Socket>();
const answered = new Set<Socket>();
const errors: Record<string, number> = {};

/** Resolves when the connection stands or failed; its answer may come much later. */
function join(host: string, port: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.on('connect', () => {
      open.add(socket);
      socket.write('x');
      resolve();
    });
    socket.on('data', () => answered.add(socket));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const code = error.code ?? error.message;
      errors[code] = (errors[code] ?? 0) + 1;
    });
    socket.on('close', () => {
      open.delete(socket);
      answered.delete(socket);
      resolve();
    });
  });
}

async function obey(command: Command): Promise<void> {
  if (command.open !== undefined) {
    const [host, port, count] = command.open;
    let left = count;
    const client = async (): Promise<void> => {
      while (left-- > 0) await join(host, port);
    };
    await Promise.all(Array.from({ length: parallel }, client));
  }
  if (command.close !== undefined) for (const socket of [...open].slice(0, command.close)) socket.destroy();
  if (command.ping) {
    answered.clear();
    for (const socket of open) socket.write('x');
  }
}

process.on('message', (command: Command) => void obey(command));
process.on('disconnect', () => process.exit(0));
setInterval(() => {
  const now: Crowd = { connected: open.size, answered: answered.size, errors };
  process.send?.(now);
}, 100);
