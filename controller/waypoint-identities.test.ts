import { describe, expect, it } from 'vitest';
import { defaultMeshConfig } from '../mesh/model/mesh-config.ts';
import { emptyModel, type Model } from '../mesh/model/model.ts';
import type { GatewayKey, WaypointConfig } from '../mesh/model/routing.ts';
import { buildResources, type Resources } from './resources/resources.ts';
import { parseManifest } from './source/parse-manifest.ts';
import { ModelWaypoints } from './waypoint-identities.ts';

const gate = 'shop/gate' as GatewayKey;

function modelWith(...gateways: GatewayKey[]): Model {
  const waypoints = gateways.map((gateway): [GatewayKey, WaypointConfig] => [
    gateway,
    {
      gateway,
      servesFor: 'service',
      serviceAccount: gateway.split('/')[1] ?? '',
      addresses: [],
      forwardClientCert: false,
    },
  ]);
  const meshConfig = { ...defaultMeshConfig, trustDomain: 'mesh.example' };
  return { ...emptyModel, waypoints: new Map(waypoints), meshConfig };
}

function pod({ label = 'gate', account = 'gate', namespace = 'shop' } = {}): Resources {
  const text = `
apiVersion: v1
kind: Pod
metadata:
  name: gate-1
  namespace: ${namespace}
  labels: { gateway.networking.k8s.io/gateway-name: ${label} }
spec: { serviceAccountName: ${account}, containers: [] }
`;
  return buildResources(parseManifest(text, 'pod.yaml').objects.map(({ typed }) => typed));
}

const inShop = { namespace: 'shop', name: 'gate-1', serviceAccount: 'gate' };

describe('ModelWaypoints', () => {
  it('knows the identity of each waypoint of the model, and of no other', () => {
    const waypoints = new ModelWaypoints();
    waypoints.update(modelWith(gate), pod());
    expect(waypoints.identityOf(gate)).toEqual({
      trustDomain: 'mesh.example',
      namespace: 'shop',
      serviceAccount: 'gate',
    });
    expect(waypoints.identityOf('bank/gate' as GatewayKey)).toBeUndefined();
    waypoints.update(emptyModel, pod());
    expect(waypoints.identityOf(gate)).toBeUndefined();
  });

  it('takes a pod with the label and the service account of a Gateway for its waypoint', () => {
    const waypoints = new ModelWaypoints();
    waypoints.update(modelWith(gate), pod());
    expect(waypoints.gatewayOf(inShop)).toBe(gate);
  });

  it.each([
    ['names another Gateway', modelWith(gate), pod({ label: 'other' })],
    ['names a Gateway that is no waypoint', emptyModel, pod()],
    ['is in another namespace than the Gateway', modelWith('bank/gate' as GatewayKey), pod()],
    ['has another service account', modelWith(gate), pod({ account: 'web' })],
    ['is not known', modelWith(gate), buildResources([])],
  ])('takes no pod for a waypoint that %s', (_what, model, resources) => {
    const waypoints = new ModelWaypoints();
    waypoints.update(model, resources);
    expect(waypoints.gatewayOf(inShop)).toBeUndefined();
    expect(waypoints.gatewayOf({ ...inShop, serviceAccount: 'web' })).toBeUndefined();
  });
});
