// The one door to @peculiar/x509. The library needs the Reflect metadata polyfill before it loads and does not bring
// it along, so nothing else may import it directly. WebCrypto of the runtime does the cryptography.

import 'reflect-metadata';
import * as x509 from '@peculiar/x509';

export { x509 };
