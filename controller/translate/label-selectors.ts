// Kubernetes' label selectors with expressions, as the Gateway API uses them.

import type { LabelSelectorSpec } from '../resources/gateway-gateway.ts';
import { type Labels, selects } from './selectors.ts';

/** An empty selector selects everything; an operator that is not known selects nothing. */
export function selectsLabels({ matchLabels, matchExpressions }: LabelSelectorSpec, labels: Labels): boolean {
  return selects(matchLabels, labels) && matchExpressions.every((expression) => holds(expression, labels));
}

function holds(
  { key, operator, values }: LabelSelectorSpec['matchExpressions'][number],
  labels: Labels,
): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    default:
      return false;
  }
}
