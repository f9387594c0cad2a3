// HTTP/2 and liveness settings of both ends of a tunnel, and why they differ from Istio's where they do.

/** Streams in one tunnel: a peer that has not said its limit yet is taken to allow this many (WIRE 1.4). */
export const maxStreamsPerTunnel = 100;

export const tunnelSettings = {
  /**
   * Per stream, bytes, at first: what a slow reader may have in flight towards it, so also what it may hold in memory. It
   * grows to Istio's 4 MiB for a reader that keeps up (splice.ts). The connection's credit is given back on receipt, so that a slow stream never stalls its tunnel.
   */
  initialWindowSize: 1024 * 1024,
  maxFrameSize: 1024 * 1024,
  maxConcurrentStreams: 200,
  maxHeaderListSize: 16 * 1024,
} as const;

/** What the window of a stream grows to for a reader that keeps up, bytes. */
export const maxStreamWindow = 4 * tunnelSettings.initialWindowSize;

/** Bytes of the whole connection, as Istio's. */
export const tunnelConnectionWindow = 16 * 1024 * 1024;

export interface LivenessOptions {
  /** A tunnel that has been silent this long gets a PING, ms. */
  readonly pingAfterMs: number;
  /** And is dead when nothing comes back in this time, ms. */
  readonly pingTimeoutMs: number;
  /** A tunnel without streams is released after this time, ms. */
  readonly unusedReleaseMs: number;
}
