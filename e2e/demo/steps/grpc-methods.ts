// Methods of one gRPC service go to different versions.

import { claim } from '../demo-error.ts';
import { eventually } from '../eventually.ts';
import { storeAddress, storeGrpcPort, waypoints } from '../store-calls.ts';
import type { Step } from '../step.ts';

export const grpcMethods: Step = {
  name: 'gRPC by method',
  async run(world) {
    world.apply('store-grpc.yaml');
    const { agent } = world.pod('web');
    const call = (method: string) =>
      agent.call('grpc', {
        host: storeAddress,
        port: storeGrpcPort,
        path: `/demo.Store/${method}`,
        timeoutMs: 5000,
      });
    for (const [method, version] of [
      ['Search', 'store-v2'],
      ['Buy', 'store-v1'],
    ] as const) {
      await eventually(`answered by ${version}: ${method}`, async () => {
        // Several in a row have met every pod of the waypoint.
        for (let i = 0; i < 3 * waypoints.length; i++)
          if (!(await call(method)).text.includes(version)) return undefined;
        return true;
      });
      for (let i = 0; i < 10; i++) {
        const { code, text } = await call(method);
        claim(code === 0 && text.includes(version), `${method} was answered by "${text}" (status ${code})`);
      }
    }
    world.remove('store-grpc.yaml');
    return 'Search is answered by v2, Buy by v1: 20 of 20';
  },
};
