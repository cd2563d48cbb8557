import type { Raw } from "../kinds.js";
import type { Store } from "../store.js";

/** Which objects a controller has to look at again: those that changed, or whose own objects did. */
export interface Dirty {
  /** Does the work where the object changed since it was last done, or where `anyway` says so. What it throws leaves it to do. */
  visit(object: Raw, anyway: boolean, work: () => void): void;
}

/** What a controller changes itself it looks at once more, and finds it as it should be. */
export function createDirty(store: Store): Dirty {
  const uids = new Set<string>();
  store.onChange(({ object, previous }) => {
    uids.add(object.metadata.uid);
    for (const one of [object, previous])
      for (const owner of (one?.metadata.ownerReferences ?? []) as Raw[]) uids.add(owner["uid"]);
  });
  return {
    visit(object, anyway, work) {
      const { uid } = object.metadata;
      if (!uids.delete(uid) && !anyway) return;
      try {
        work();
      } catch (error) {
        uids.add(uid);
        throw error;
      }
    },
  };
}
