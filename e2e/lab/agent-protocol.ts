// The messages between a program that owns a lab and the agent inside one of its namespaces: what the agent can be
// asked to do, and what comes back. An agent acts as an ordinary application there; it knows nothing of the mesh.

export interface Target {
  /** An address or a name, resolved inside the namespace. */
  readonly host: string;
  readonly port: number;
  /** Restrict name resolution to one family. */
  readonly family?: 4 | 6;
}

export interface HttpRequest extends Target {
  readonly path: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly timeoutMs?: number;
}

export interface GrpcRequest extends Target {
  /** `/package.Service/Method`; the message is empty. */
  readonly path: string;
  readonly timeoutMs?: number;
}

export interface GrpcAnswer {
  /** gRPC status code; 0 is OK. */
  readonly code: number;
  /** The answer's bytes as text. */
  readonly text: string;
}

export interface HttpAnswer {
  readonly status: number;
  /** Names in lower case; of several values the last. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** An answer, or the system's code of the failure (ETIMEDOUT where time ran out). */
export type HttpOutcome = HttpAnswer | { readonly error: string };

export interface UdpRequest extends Target {
  readonly text: string;
  readonly timeoutMs?: number;
}

export interface LoadRequest extends Target {
  /** What each connection does: small HTTP requests on kept connections, one HTTP request a connection, 64-byte echo
   * round trips on kept connections, or as many bytes as fit. */
  readonly kind: 'requests' | 'connections' | 'round-trips' | 'bulk';
  readonly concurrency: number;
  /** At most so many exchanges begin in a second, all connections together; without it as many as are answered. */
  readonly perSecond?: number;
  /** Ends by itself after this time; without it at `stopLoad`. */
  readonly durationMs?: number;
}

export interface LoadReport {
  /** Requests, connections or round trips that succeeded. */
  readonly succeeded: number;
  readonly failed: number;
  /** The part that began after the last `markLoad`; all of it without one. */
  readonly afterMark: { readonly succeeded: number; readonly failed: number };
  /** Distinct error codes of the failures, with how often. */
  readonly errors: Readonly<Record<string, number>>;
  /** How often each server (the `pod` field of its answer) answered. */
  readonly servers: Readonly<Record<string, number>>;
  readonly bytes: number;
  readonly seconds: number;
  /** Microseconds. */
  readonly p50: number;
  readonly p99: number;
}

export type LoadProgress = Pick<LoadReport, 'succeeded' | 'failed' | 'afterMark'>;

/** How a held connection stands. */
export interface ConnectionState {
  readonly open: boolean;
  /** `end` for a FIN, or an error code such as ECONNRESET; present when closed. */
  readonly reason?: string;
}

/** Every operation with its argument and result; all arguments and results are plain JSON. */
export interface AgentOperations {
  http(request: HttpRequest): HttpAnswer;
  /** So many of the same, one after the other. */
  httpOutcomes(request: HttpRequest & { readonly count: number }): readonly HttpOutcome[];
  grpc(request: GrpcRequest): GrpcAnswer;
  udp(request: UdpRequest): string;
  resolve(name: string): readonly string[];
  open(request: Target & { readonly id: string }): { readonly localAddress: string };
  exchange(request: { readonly id: string; readonly text: string }): string;
  state(id: string): ConnectionState;
  awaitClose(request: { readonly id: string; readonly timeoutMs: number }): ConnectionState;
  close(id: string): null;
  load(request: LoadRequest): LoadReport;
  startLoad(request: LoadRequest & { readonly id: string }): null;
  loadProgress(id: string): LoadProgress;
  /** From now on exchanges that begin are counted in `afterMark`. */
  markLoad(id: string): null;
  stopLoad(id: string): LoadReport;
}

export type AgentOperation = keyof AgentOperations;
export type ArgumentOf<K extends AgentOperation> = Parameters<AgentOperations[K]>[0];
export type ResultOf<K extends AgentOperation> = ReturnType<AgentOperations[K]>;

/** Whoever can be asked: rejects when the operation failed there. */
export interface AgentCaller {
  call<K extends AgentOperation>(operation: K, argument: ArgumentOf<K>): Promise<ResultOf<K>>;
}

export interface AgentCall {
  readonly sequence: number;
  readonly operation: AgentOperation;
  readonly argument: unknown;
}

export type AgentReply =
  | { readonly sequence: number; readonly result: unknown }
  | { readonly sequence: number; readonly error: { readonly code: string; readonly message: string } };
