// `weft validate DIR`: everything that is wrong with a directory of manifests, as the controller would see it, one line
// each in the form editors and CI annotate.

import { compareProblems, formatFieldPath, formatProblem, type Problem } from './source/problem.ts';
import { type LoadedDirectory, loadDirectory } from './source/load-directory.ts';
import { allConditions, type Condition, isBadCondition, type ObjectStatus } from './translate/statuses.ts';
import { translate } from './translate/translate.ts';

export interface Validation {
  /** `file:line:column: error: Kind namespace/name: field: message`, sorted by place. */
  readonly lines: readonly string[];
  readonly problems: readonly Problem[];
  readonly errors: number;
  readonly warnings: number;
}

/** Throws SourceError if the directory cannot be read at all. */
export async function validateDirectory(directory: string): Promise<Validation> {
  const loaded = await loadDirectory(directory);
  const { statuses } = translate(loaded.resources, { clusterId: 'Kubernetes', standalone: true });
  const fromStatuses = statuses.flatMap((status) => statusProblems(status, loaded));
  const problems = [...loaded.problems, ...fromStatuses].sort(compareProblems);
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  return { lines: problems.map(formatProblem), problems, errors, warnings: problems.length - errors };
}

function statusProblems(status: ObjectStatus, loaded: LoadedDirectory): Problem[] {
  const { kind, namespace, name } = status;
  const object = { kind, namespace, name };
  return allConditions(status)
    .filter(isWorthALine)
    .flatMap((condition) =>
      (condition.faults.length > 0 ? condition.faults : [{ message: condition.message, field: [] }]).map(
        (fault) => {
          const place = loaded.locate(object, fault.field ?? []) ?? { file: '', line: 0, column: 0 };
          const field =
            fault.field === undefined || fault.field.length === 0
              ? {}
              : { field: formatFieldPath(fault.field) };
          return { ...place, object, ...field, message: fault.message, severity: severityOf(condition) };
        },
      ),
    );
}

function isWorthALine(condition: Condition): boolean {
  return isBadCondition(condition) || (condition.type === 'Accepted' && condition.reason !== 'Accepted');
}

/** What is in force but not as the user may think is a warning; so is a reference to what is not there yet. */
function severityOf(condition: Condition): Problem['severity'] {
  const { type, reason } = condition;
  const isMistake = type !== 'ResolvedRefs' && type !== 'Programmed' && reason !== 'NoMatchingParent';
  return isBadCondition(condition) && isMistake ? 'error' : 'warning';
}
