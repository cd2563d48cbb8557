/** The budgets' Lease: reserved by compare-and-set before a run's first intent. A crash wastes one, never overspends. */
import { z } from "zod";
import { type Clock, iso } from "../clock.js";
import { ClusterError, type KubeObject, type OwnObjects } from "../cluster.js";
import { TerminalError } from "../errors.js";
import type { BudgetEntry } from "../guard/guard.js";

export const BUDGET_LEASE = "nightshift-budget";
const ANNOTATION = "nightshift.dev/budget";
const KEEP_MS = 24 * 3600 * 1000;
/** A reservation whose run died counts as under way for this long at most. */
const OPEN_MS = 3600 * 1000;

const entries = z.array(
  z.object({
    run: z.string(),
    cluster: z.string(),
    namespace: z.string(),
    target: z.string(),
    at: z.number(),
    open: z.boolean(),
  }),
);

/** A version that was seen longer ago has most likely been followed by others. */
const KNOWN_MS = 1000;

interface Loaded {
  object: KubeObject | null;
  present: BudgetEntry[];
}

export interface Budgets {
  read(): Promise<BudgetEntry[]>;
  /**
   * Adds the entry if `allowed` says so of what is there; the sentence of a "no" is returned. The same run is never
   * counted twice. Errors: ClusterError.
   */
  reserve(entry: BudgetEntry, allowed: (present: BudgetEntry[]) => Promise<string | null>): Promise<string | null>;
  /** The run is over: it no longer counts as under way. */
  close(run: string): Promise<void>;
}

export function createBudgets(objects: OwnObjects, namespace: string, clock: Clock): Budgets {
  const ref = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", namespace, name: BUDGET_LEASE };

  /** The Lease as it was last read or written here: a reservation tries that version first, and is refused if it is not the newest. */
  let known: { object: KubeObject; at: number } | null = null;
  const knows = (object: KubeObject | null) => {
    known = object === null ? null : { object, at: clock.monotonic() };
    return object;
  };
  const recent = () => (known !== null && clock.monotonic() - known.at < KNOWN_MS ? known.object : null);

  async function load(): Promise<Loaded> {
    return read(knows(await objects.get(ref)));
  }

  /** The annotation's text as it was last read, and what it says: guards and reservation of a run mostly see the same. */
  let last: { text: string; all: readonly BudgetEntry[] } = { text: "[]", all: [] };

  function entriesOf(text: string): readonly BudgetEntry[] {
    if (text === last.text) return last.all;
    const parsed = entries.safeParse(safeJson(text));
    if (!parsed.success)
      throw new TerminalError(
        "ERR_BUDGET_UNREADABLE",
        `Lease ${BUDGET_LEASE}: its annotation ${ANNOTATION} cannot be read; remove it to start afresh`,
      );
    last = { text, all: parsed.data };
    return parsed.data;
  }

  function read(object: KubeObject | null): Loaded {
    const text = object?.metadata.annotations?.[ANNOTATION];
    if (text === undefined) return { object, present: [] };
    const now = clock.now();
    const present = entriesOf(text)
      .filter((entry) => now - entry.at < KEEP_MS)
      .map((entry) => (now - entry.at < OPEN_MS ? entry : { ...entry, open: false }));
    return { object, present };
  }

  async function store(object: KubeObject | null, next: BudgetEntry[]): Promise<boolean> {
    const body = {
      apiVersion: ref.apiVersion,
      kind: ref.kind,
      metadata: {
        name: BUDGET_LEASE,
        namespace,
        labels: {
          ...(object?.metadata.labels ?? {}),
          "app.kubernetes.io/managed-by": "nightshift",
          "app.kubernetes.io/component": "budget",
        },
        annotations: { ...(object?.metadata.annotations ?? {}), [ANNOTATION]: JSON.stringify(next) },
        ...(object === null ? {} : { resourceVersion: object.metadata.resourceVersion }),
      },
      spec: { renewTime: `${iso(clock.now()).slice(0, -1)}000Z`, leaseDurationSeconds: 3600 },
    };
    try {
      knows(await (object === null ? objects.create(body) : objects.replace(body)));
      return true;
    } catch (error) {
      // Whatever it was, what is known may be old by now.
      knows(null);
      if (error instanceof ClusterError && error.conflict) return false;
      throw error;
    }
  }

  // One Lease for all runs: those of this process wait for each other, or they would only make each other try again.
  let turn: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const mine = turn.then(work);
    turn = mine.catch(() => undefined);
    return mine;
  };

  async function reserve(
    entry: BudgetEntry,
    allowed: (present: BudgetEntry[]) => Promise<string | null>,
  ): Promise<string | null> {
    for (let attempt = 0; attempt < 20; attempt += 1) {
      const last = recent();
      const { object, present } = last === null ? await load() : read(last);
      const others = present.filter((e) => e.run !== entry.run);
      if (others.length === present.length) {
        const no = await allowed(present);
        if (no !== null) return no;
      }
      if (await store(object, [...others, entry])) return null;
      await clock.sleep(10 * (attempt + 1));
    }
    return "the budget's Lease kept changing under 20 attempts to reserve: try again";
  }

  async function close(run: string): Promise<void> {
    for (let attempt = 0; attempt < 5; attempt += 1) {
      const { object, present } = await load();
      if (object === null || !present.some((e) => e.run === run && e.open)) return;
      const next = present.map((e) => (e.run === run ? { ...e, open: false } : e));
      if (await store(object, next)) return;
    }
  }

  return {
    async read() {
      return (await load()).present;
    },
    reserve: (entry, allowed) => inTurn(() => reserve(entry, allowed)),
    close: (run) => inTurn(() => close(run)),
  };
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
