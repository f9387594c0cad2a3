// The current model to the configuration service: only what differs from the last model is encoded, and only what
// differs on the wire is sent (the store compares content hashes). A pod is seen by its own node alone.

import { diffModel } from '../mesh/model/diff.ts';
import { emptyModel, isEmptyDelta, type Model, type ModelDelta } from '../mesh/model/model.ts';
import { publish } from '../mesh/xds/publish.ts';
import type { ResourceStore } from '../mesh/xds/resource-store.ts';

export class ModelPublisher {
  readonly #store: ResourceStore;
  #model: Model | undefined;

  constructor({ store }: { readonly store: ResourceStore }) {
    this.#store = store;
  }

  /** The last published model. */
  get model(): Model {
    return this.#model ?? emptyModel;
  }

  /** Makes `model` what nodes are told. Returns what changed. */
  publish(model: Model): ModelDelta {
    const delta = diffModel(this.model, model);
    // The first time the mesh's settings go out even if they are the built-in ones.
    const first =
      this.#model === undefined
        ? { ...delta, meshConfig: model.meshConfig, enrolledNamespaces: model.enrolledNamespaces }
        : delta;
    if (!isEmptyDelta(first)) publish(this.#store, first);
    this.#model = model;
    return first;
  }
}
