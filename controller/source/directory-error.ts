// The errors of reading a directory of manifests. Wrong contents are problems, not errors: only a directory that
// cannot be read at all at the start ends here.

export type SourceErrorCode = 'DIRECTORY_MISSING' | 'NOT_A_DIRECTORY' | 'DIRECTORY_UNREADABLE';

export class SourceError extends Error {
  readonly code: SourceErrorCode;

  constructor(code: SourceErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SourceError';
    this.code = code;
  }

  static unreadable(directory: string, cause: unknown): SourceError {
    const errno = (cause as NodeJS.ErrnoException).code;
    const path = `the manifest directory "${directory}"`;
    if (errno === 'ENOENT') {
      return new SourceError('DIRECTORY_MISSING', `Cannot read ${path}: it does not exist, check the path`, {
        cause,
      });
    }
    if (errno === 'ENOTDIR') {
      return new SourceError(
        'NOT_A_DIRECTORY',
        `Cannot read ${path}: it is a file, name the directory it is in`,
        { cause },
      );
    }
    return new SourceError(
      'DIRECTORY_UNREADABLE',
      `Cannot read ${path} (${errno ?? cause}): check its permissions`,
      {
        cause,
      },
    );
  }
}
