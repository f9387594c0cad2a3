// The waypoint of the benchmark: a data plane on this thread, a model made here, plain listeners. Not a program for users.
export interface WeftProxyConfig {
  readonly address: string;
  readonly server: string;
  readonly listeners: readonly {
    readonly port: number;
    readonly stable: number;
    readonly canary: number;
    readonly http2: boolean;
  }[];
  readonly canaryPercent: number;
  readonly timeoutMs: number;
  /** Rules that stand before the one that is taken. */
  readonly routes: number;
}
