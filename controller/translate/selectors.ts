// Label selectors: equality of every listed label, the only form that Services and our kinds have.

export type Labels = Readonly<Record<string, string>>;

/** An empty selector selects everything; callers that mean "nothing" must not ask. */
export function selects(selector: Labels, labels: Labels): boolean {
  return selectedBy(selector)(labels);
}

/** The same for a selector that many labels are held against. */
export function selectedBy(selector: Labels): (labels: Labels) => boolean {
  const wanted = Object.entries(selector);
  return (labels) => {
    for (const [key, value] of wanted) {
      // Without the second look a selector could ask for what every object inherits.
      if (labels[key] !== value || !Object.hasOwn(labels, key)) return false;
    }
    return true;
  };
}

export function isEmptySelector(selector: Labels | null | undefined): boolean {
  return selector === null || selector === undefined || Object.keys(selector).length === 0;
}
