// The difference of two texts line by line, by their longest common subsequence. For manifests of a few hundred lines:
// time and memory grow with the product of both lengths.

export type LineChange =
  | { readonly kind: 'same'; readonly line: string }
  | { readonly kind: 'differs'; readonly before: readonly string[]; readonly after: readonly string[] };

/** In order; `before` and `after` of a change are never both empty. */
export function diffLines(before: readonly string[], after: readonly string[]): readonly LineChange[] {
  const common = commonLengths(before, after);
  const changes: LineChange[] = [];
  let open: { before: string[]; after: string[] } = { before: [], after: [] };
  const close = (): void => {
    if (open.before.length + open.after.length > 0) changes.push({ kind: 'differs', ...open });
    open = { before: [], after: [] };
  };
  for (let i = 0, j = 0; i < before.length || j < after.length; ) {
    const [left, right] = [before[i], after[j]];
    if (left !== undefined && left === right) {
      close();
      changes.push({ kind: 'same', line: left });
      i++;
      j++;
    } else if (
      right === undefined ||
      (left !== undefined && lengthAt(common, i + 1, j) >= lengthAt(common, i, j + 1))
    ) {
      open.before.push(left ?? '');
      i++;
    } else {
      open.after.push(right);
      j++;
    }
  }
  close();
  return changes;
}

/** By position in both: how many lines the rests have in common. */
function commonLengths(before: readonly string[], after: readonly string[]): readonly (readonly number[])[] {
  const rows: number[][] = Array.from({ length: before.length + 1 }, () => Array(after.length + 1).fill(0));
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      const isSame = before[i] === after[j];
      const length = isSame
        ? lengthAt(rows, i + 1, j + 1) + 1
        : Math.max(lengthAt(rows, i + 1, j), lengthAt(rows, i, j + 1));
      (rows[i] as number[])[j] = length;
    }
  }
  return rows;
}

function lengthAt(rows: readonly (readonly number[])[], i: number, j: number): number {
  return rows[i]?.[j] ?? 0;
}
