/** A person's answer, as any way in hands it over: Slack button, PagerDuty action, CLI. Stored first, judged later. */

export const answers = ["approve", "deny", "abort", "replan"] as const;
export type Answer = (typeof answers)[number];

export interface Click {
  answer: Answer;
  incident: string;
  /** Of the plan that the person saw; "" for `abort` and `replan`. */
  nonce: string;
  digest: string;
  /** The button's seal: HMAC over install, incident, nonce and digest. */
  mac: string;
  /** The install that posted the button. */
  install: string;
  /** `slack:U123`, `pagerduty:P123`, `cli:name`. */
  by: string;
  /** For people; never trusted. */
  name: string;
  /** Milliseconds. */
  at: number;
  /** Where to answer the clicker; null where there is nowhere. */
  reply: { channel: string; user: string } | null;
}

/** What a button carries: at most 2,000 characters of JSON. */
export interface ButtonValue {
  i: string;
  n: string;
  d: string;
  m: string;
  /** Install id. */
  o: string;
}
