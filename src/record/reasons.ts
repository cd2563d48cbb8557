/**
 * The closed set of reasons why something was not done, or was left to a person. Metrics, API, `match` and docs share it.
 * Each has the words a person reads.
 */
export const reasons = {
  // decided from the alert and the policy alone
  resolved: "the alert is resolved",
  unmanaged: "the cluster or namespace is not under Nightshift's care",
  unmatched: "no rule of the policy matches",
  ignored: "the policy says to ignore it",
  heartbeat: "a heartbeat, recorded",
  escalated: "the policy sends it to a person",
  diagnosis: "a diagnosis only, nothing is changed",
  "missing-label": "the alert lacks a label that the rule's target needs",
  "invalid-name": "a label is not a valid Kubernetes name",
  protected: "the namespace is protected: read only",
  // decided from the world
  "target-not-found": "the target is not in the cluster",
  "ambiguous-target": "the labels do not lead to exactly one workload",
  "unsupported-kind": "the runbook does not act on this kind",
  "not-bound": "the namespace has not been opened to Nightshift's writer",
  "not-active": "no Alertmanager says that it is firing",
  joined: "another incident of the same target has it",
  observed: "autonomy is observe: recorded what would have been done",
  proposed: "autonomy is propose: the plan was posted for people to carry out",
  // a runbook's own no
  "nothing-to-do": "the target is already as the runbook would leave it",
  "no-earlier-revision": "there is no earlier revision to go back to",
  "no-healthy-revision": "no earlier revision ran well for long enough",
  "image-gone": "the earlier revision's image cannot be found any more",
  "config-gone": "a ConfigMap or Secret that the earlier revision names is gone",
  "config-changed": "configuration changed after the revision to go back to last ran",
  "rollout-paused": "the rollout is paused by a person",
  "owned-by-gitops": "GitOps owns the object: the change belongs in Git",
  "owned-elsewhere": "another controller owns the field",
  "no-capacity": "quota, nodes, a ceiling or the database leave no room",
  "not-saturated": "it is not busy: more of it would not help",
  "crash-loop": "its pods crash by themselves: a restart would hide the cause",
  quorum: "too few members would be left",
  disrupted: "a disruption budget allows nothing to leave now",
  "would-not-start": "its pods could not start again",
  // guards
  stale: "too old to act on",
  paused: "paused by a person",
  clock: "the clock of the process that decides is wrong",
  storm: "many workloads fail at once: one cause is likely",
  budget: "the budget of actions is used up",
  "at-once": "other actions are under way",
  "done-before": "something was already done about this target or alert",
  flapping: "the alert keeps coming and going",
  "no-data": "data needed for the decision is missing",
  "change-in-flight": "a rollout or a person's change is under way",
  "too-many-targets": "the plan touches more than one workload",
  "not-approved": "the approval does not fit the plan",
  "guard-error": "a guard could not be evaluated",
  "ledger-full": "the target's ledger is full",
  // the ask
  expired: "nobody answered in time",
  denied: "a person said no",
  // the run
  "changed-world": "the world is not the one that was approved",
  "cannot-tell": "it cannot be told whether the change was made",
  "lost-memory": "Nightshift's memory of this run was lost",
  "lease-held": "another run holds the target",
  forbidden: "the API server refused the change",
  refused: "the API server found the change invalid",
  aborted: "a person stopped the run",
  "verify-failed": "the change was made, and the cause is still there",
  inconclusive: "the change was made, and it cannot be told whether it helped",
  undone: "the change did not help and was undone",
  reverted: "somebody or something put it back",
  "still-firing": "left alone, and still firing",
  truncated: "Alertmanager cut alerts off and they could not be read",
  unavailable: "something needed for the decision cannot be reached",
  "no-pager": "no PagerDuty routing key: nothing above propose runs",
  error: "an error inside Nightshift",
} as const;

export type Reason = keyof typeof reasons;

export const reasonNames = Object.keys(reasons) as Reason[];

/** How an incident ends. PROTOCOL section 3. */
export const outcomes = ["remediated", "held", "suppressed"] as const;
export type Outcome = (typeof outcomes)[number];
