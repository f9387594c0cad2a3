// Child of tcp-listener.test.ts, run with few descriptors: accepts until they are used up, then closes what it has and
// goes on. Prints one JSON line per event.

import { writeSync } from 'node:fs';
import { ip } from '../../model/fixture.ts';
import * as libc from '../libc.ts';
import { Reactor } from '../reactor.ts';
import { listenTcp, localAddress } from '../socket.ts';
import { TcpListener } from '../tcp-listener.ts';

const expected = Number(process.argv[2]);
const say = (line: object): void => {
  writeSync(1, `${JSON.stringify(line)}\n`);
};
const reactor = new Reactor({ onError: (error) => say({ failed: String(error) }) });
const held: number[] = [];
let accepted = 0;
let pauses = 0;
const fd = listenTcp({ address: ip('127.0.0.1'), port: 0 });
const listener = new TcpListener(reactor, fd, {
  onConnection: (connection) => {
    held.push(connection);
    accepted++;
    if (accepted < expected) return;
    say({ accepted });
    reactor.stop();
  },
  onError: (error) => {
    pauses++;
    if (pauses === 1) say({ code: error.code, message: error.message, held: held.length });
    for (const each of held.splice(0)) libc.close(each);
  },
});
say({ port: localAddress(fd).port });
reactor.run();
listener.close();
