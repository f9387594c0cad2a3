import { beforeAll, describe, expect, it } from 'vitest';
import { ManualClock } from '../runtime/clock.ts';
import { createCsr } from '../tls/csr.ts';
import { decodeOnePem } from '../tls/pem.ts';
import { TestCa } from '../tls/testing/test-ca.ts';
import { certificateIdentities, identitiesOf } from './peer-certificate.ts';

const api = { trustDomain: 'td', namespace: 'shop', serviceAccount: 'api' };
const uri = 'spiffe://td/ns/shop/sa/api';
let leaf: (uris: readonly string[]) => Promise<string>;

beforeAll(async () => {
  const ca = await TestCa.create(new ManualClock(1_800_000_000_000));
  const { csrPem } = await createCsr(api);
  leaf = (uris) => ca.leaf({ csrPem, lifeMs: 60_000, uris });
});

describe('certificateIdentities()', () => {
  it('reads every SPIFFE identity in order', async () => {
    const der = decodeOnePem('CERTIFICATE', await leaf([uri, 'https://x.example', 'spiffe://td/ns/a/sa/b']));
    expect(certificateIdentities(der)).toMatchObject([api, { namespace: 'a', serviceAccount: 'b' }]);
  });

  it('finds no identity in a certificate that hides another one in its bytes', async () => {
    const hidden = await leaf(['spiffe://td/ns/shop/sa/admin']);
    const der = decodeOnePem('CERTIFICATE', await leaf([uri, `x:\n${hidden}`]));
    expect(certificateIdentities(der)).toEqual([]);
  });
});

describe('identitiesOf()', () => {
  it('takes no identity from a name with a separator in it', () => {
    expect(identitiesOf(`URI:"x, URI:${uri}"`)).toEqual([]);
  });
});
