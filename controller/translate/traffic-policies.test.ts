import { describe, expect, it } from 'vitest';
import { serviceKey } from '../../mesh/model/key.ts';
import { defaultOutlierDetection } from '../../mesh/model/traffic-policy.ts';
import { buildResources } from '../resources/resources.ts';
import { parseManifest } from '../source/parse-manifest.ts';
import { translate } from './translate.ts';

function outlierDetection(written: string) {
  const text = `
apiVersion: v1
kind: Service
metadata: { name: api, namespace: shop }
spec: { selector: { app: api }, clusterIP: 10.96.0.1, ports: [{ port: 80 }] }
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: api, namespace: shop }
spec: { targetRefs: [{ kind: Service, name: api }], outlierDetection: ${written} }
`;
  const { objects } = parseManifest(text, 'policy.yaml');
  const { model } = translate(buildResources(objects.map(({ typed }) => typed)), {
    clusterId: 'Kubernetes',
    standalone: true,
  });
  return model.services.get(serviceKey('shop', 'api.shop.svc.cluster.local'))?.trafficPolicy
    ?.outlierDetection;
}

describe('outlierDetection', () => {
  it('has the defaults of the node tunnel for every field left out, by the CRD', () => {
    expect(outlierDetection('{}')).toEqual(defaultOutlierDetection);
    expect(outlierDetection('{ consecutiveFailures: 7 }')).toEqual({
      ...defaultOutlierDetection,
      consecutiveFailures: 7,
    });
  });
});
