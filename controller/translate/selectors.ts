// Label selectors: equality of every listed label, the only form that Services and our kinds have.

export type Labels = Readonly<Record<string, string>>;

/** An empty selector selects everything; callers that mean "nothing" must not ask. */
export function selects(selector: Labels, labels: Labels): boolean {
  for (const [key, value] of Object.entries(selector)) {
    if (!Object.hasOwn(labels, key) || labels[key] !== value) return false;
  }
  return true;
}

export function isEmptySelector(selector: Labels | null | undefined): boolean {
  return selector === null || selector === undefined || Object.keys(selector).length === 0;
}
