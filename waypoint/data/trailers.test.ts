// Fields behind a body: nobody has asked policies or tokens about them.

import { createServer, type IncomingMessage } from 'node:http';
import { connect } from 'node:http2';
import { describe, expect, it } from 'vitest';
import { PlaneRig } from '../testing/plane-rig.ts';
import { keylessAuthentication } from '../testing/token-rules.ts';

describe('trailers of a request', () => {
  it('bring nothing that only a head may say, and no header of a claim', async () => {
    await using rig = new PlaneRig();
    rig.apply({ requestAuthentications: [keylessAuthentication] });
    const seen: IncomingMessage['trailers'][] = [];
    const target = await rig.serve(
      createServer((incoming, outgoing) => {
        incoming.resume().on('end', () => {
          seen.push(incoming.trailers);
          outgoing.end();
        });
      }),
    );
    const session = connect(
      `http://127.0.0.1:${rig.listen(rig.service('app', [target], { appProtocol: 'http11' }))}`,
    );
    session.on('error', () => {});
    const stream = session.request({ ':path': '/', ':method': 'POST' }, { waitForTrailers: true });
    stream.on('wantTrailers', () =>
      stream.sendTrailers({
        'x-checksum': 'abc',
        'x-user': 'root',
        x_user: 'root',
        authorization: 'Bearer x',
        'x-forwarded-client-cert': 'URI=spiffe://admin',
        host: 'other',
      }),
    );
    stream.resume().end('body');
    await rig.when('the application to have all', () => seen.length > 0);
    expect(seen).toEqual([{ 'x-checksum': 'abc' }]);
    session.destroy();
  });
});
