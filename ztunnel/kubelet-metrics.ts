// What is counted about probes of the kubelet: whether one is known, and how many connections went past the proxy.

import { OpenMetricsText } from '../mesh/telemetry/open-metrics.ts';
import type { KubeletWatch } from './kubelet-watch.ts';

export function renderKubelet(watch: Pick<KubeletWatch, 'state' | 'probes'>): string {
  const text = new OpenMetricsText();
  const exempt = watch.state().filter(({ problem }) => problem === undefined);
  text.family('weft_kubelets', 'gauge', 'Kubelets whose probes reach captured pods');
  text.sample('', exempt.length);
  text.family('weft_kubelet_probes', 'counter', 'Connections of the kubelet that went to captured pods');
  text.sample('', watch.probes());
  return text.toString();
}
