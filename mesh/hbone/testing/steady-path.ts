// One connection through a tunnel world between two raw applications, driven in a tight loop: for counting what the data
// path itself does while bytes move.

import {
  type Application,
  dialRaw,
  type PingPong,
  serveRaw,
  type Sink,
  type Source,
} from '../../io/testing/raw-applications.ts';
import { pump } from '../../io/testing/pump.ts';
import type { Reactor } from '../../io/reactor.ts';
import type { TcpStream } from '../../io/tcp-stream.ts';
import { TunnelWorld } from './tunnel-world.ts';

type ApplicationOf<T> = new (reactor: Reactor, stream: TcpStream) => T;

export interface SteadyPath<C, S> extends AsyncDisposable {
  readonly client: C;
  readonly server: S;
  readonly world: TunnelWorld;
  /** Turns the loop until `done`, without anything else of this thread. Throws after `maxTurns`. */
  run(done: () => boolean, maxTurns: number): void;
}

export async function openSteadyPath<C extends Application, S extends Application>(
  Client: ApplicationOf<C>,
  Server: ApplicationOf<S>,
): Promise<SteadyPath<C, S>> {
  const world = await TunnelWorld.create();
  const { reactor } = world;
  let client: C | undefined;
  let server: S | undefined;
  const application = serveRaw(reactor, (stream) => {
    server = new Server(reactor, stream);
  });
  world.applicationPort = application.port;
  const entrance = world.listenOutbound();
  dialRaw(reactor, entrance.port, (stream) => {
    client = new Client(reactor, stream);
  });
  await pump(
    reactor,
    'both applications',
    () => client !== undefined && server !== undefined && world.outbound.length > 0,
  );
  entrance.listener.close();
  application.listener.close();
  return {
    client: client as unknown as C,
    server: server as unknown as S,
    world,
    run(done, maxTurns) {
      for (let turns = 0; !done(); turns++) {
        if (turns > maxTurns) throw new Error(`Not done after ${maxTurns} turns`);
        reactor.turn(100);
      }
      if (world.errors.length > 0) throw world.errors[0];
    },
    async [Symbol.asyncDispose]() {
      client?.close(reactor);
      server?.close(reactor);
      await world.close();
    },
  };
}

/** Round trips of 64 bytes, one after the other. */
export function roundTrips(path: SteadyPath<PingPong, PingPong>, rounds: number): void {
  const { client, server } = path;
  server.left = rounds + 1;
  client.start(rounds);
  path.run(() => client.left === 0, rounds * 20);
}

/** One way, as fast as it goes. */
export function transfer(path: SteadyPath<Source, Sink>, bytes: number): void {
  const { client, server } = path;
  const goal = server.received + bytes;
  client.start(bytes);
  path.run(() => server.received === goal, bytes / 500);
}
