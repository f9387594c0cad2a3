// A header field as the HTTP/2 layer and its owners see it.
// Names are lower case, pseudo headers come first, and each character is one octet (latin1): octets pass through unchanged.

export type Header = readonly [name: string, value: string];

/** Value of the first field called `name`. */
export function headerValue(headers: readonly Header[], name: string): string | undefined {
  for (const header of headers) if (header[0] === name) return header[1];
  return undefined;
}
