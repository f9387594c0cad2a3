// grpc-js writes its errors to the console by itself. Here every failure reaches a caller as a status or an error
// and is logged by the one who knows what it means, so the library keeps quiet.

import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js';

setLogVerbosity(logVerbosity.NONE);
