// A copy of a request that is sent aside: a mirror. Its answer is thrown away and its failure is nobody's; it never slows
// the request it copies, so where it does not keep up it is given up.

import type { Header } from '../../mesh/h2/header.ts';
import type { HttpStream } from '../../mesh/http/stream.ts';
import type { Slab } from '../../mesh/io/slab.ts';
import type { LiveSetItem } from '../../mesh/runtime/live-set.ts';
import { BodyPipe } from './body-pipe.ts';
import { type ForwardOwner, Forwarding, type ForwardRequest } from './forwarding.ts';
import type { LocalReply } from './local-reply.ts';
import type { RequestWorld } from './request-world.ts';
import type { UpstreamEndpoint } from './upstream/upstream.ts';

/** What may wait for a mirror that is slower than the request, bytes. */
const maxWaitingBytes = 64 * 1024;

export class SideRequest implements ForwardOwner, LiveSetItem {
  place = -1;
  #body: BodyPipe | undefined;
  #forwarding: Forwarding;
  #stream: HttpStream | undefined;
  #world: RequestWorld;
  readonly #admits: (endpoint: UpstreamEndpoint) => LocalReply | undefined;
  #over = false;

  /** `admits`: policies of the endpoint that gets the copy; a reply says they do not. */
  constructor(
    world: RequestWorld,
    request: ForwardRequest,
    { admits }: { readonly admits: (endpoint: UpstreamEndpoint) => LocalReply | undefined },
  ) {
    this.#world = world;
    this.#admits = admits;
    world.sideRequests.add(this);
    this.#body = request.endStream ? undefined : new BodyPipe(world.budget, undefined);
    this.#forwarding = new Forwarding(world.upstream, request, this, this.#body);
    this.#forwarding.start();
  }

  /** Of the body of the request that is copied. */
  data(slab: Slab, offset: number, length: number): void {
    const body = this.#body;
    if (this.#over || body === undefined) return;
    if (body.waiting + length > maxWaitingBytes || !body.data(slab, offset, length)) this.giveUp();
  }

  end(): void {
    if (!this.#over) this.#body?.end();
  }

  /** The request that is copied ended: a body that is not whole by now never will be. */
  sourceGone(): void {
    if (this.#body !== undefined && !this.#body.ended) this.giveUp();
  }

  onTry(endpoint: UpstreamEndpoint): LocalReply | undefined {
    return this.#admits(endpoint);
  }

  onInformational(): void {}

  onResponse(
    _status: number,
    _headers: readonly Header[],
    { endStream, stream }: { endStream: boolean; stream: HttpStream },
  ): void {
    this.#stream = stream;
    if (endStream) this.onResponseEnd();
  }

  onResponseData(_slab: Slab, _offset: number, length: number): void {
    this.#stream?.consume(length);
  }

  onResponseTrailers(): void {}

  onResponseEnd(): void {
    if (this.#over) return;
    this.#forwarding.complete();
    this.#finish();
  }

  onNoResponse(): void {
    this.#finish();
  }

  onBroken(): void {
    this.#finish();
  }

  /** Idempotent. */
  giveUp(): void {
    if (this.#over) return;
    this.#forwarding.cancel();
    this.#finish();
  }

  #finish(): void {
    this.#over = true;
    this.#world.sideRequests.delete(this);
    this.#body?.clear();
  }
}
