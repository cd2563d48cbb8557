/** Ports through which people are reached. Words are made in this folder; the SDKs sit behind clients/. */
import type { IncidentRecord, StormMember } from "../record/incident.js";

/** A Slack Block Kit block, as the Web API takes it. */
export type Block = Record<string, unknown>;

export interface SlackMessage {
  /** Plain fallback; its first 120 characters are what a phone shows. */
  text: string;
  blocks: Block[];
}

/** Slack's Web API, as far as it is used. Errors: UnavailableError (try again), TerminalError (never will work). */
export interface SlackPort {
  post(
    message: SlackMessage & { channel: string; threadTs?: string; incident: string },
  ): Promise<{ channel: string; ts: string }>;
  update(message: SlackMessage & { channel: string; ts: string }): Promise<void>;
  /** Finds the incident's own message by its marker after an unknown answer; null where there is none. */
  find(channel: string, incident: string): Promise<{ channel: string; ts: string } | null>;
  ephemeral(message: { channel: string; user: string; text: string }): Promise<void>;
  /** Members of a group handle; null where the workspace has no such group or it cannot be asked. */
  groupMembers(handle: string): Promise<string[] | null>;
}

/** PagerDuty Events API v2 event. */
export interface PagerEvent {
  action: "trigger" | "resolve";
  dedupKey: string;
  summary: string;
  source: string;
  severity: "critical" | "error" | "warning" | "info";
  component?: string;
  group?: string;
  class?: string;
  timestamp?: string;
  details: Record<string, unknown>;
  links: { href: string; text: string }[];
}

export interface PagerPort {
  /** Resolves when PagerDuty accepted it. Errors: UnavailableError (try again), TerminalError (400: never will). */
  send(event: PagerEvent): Promise<void>;
}

/** What the words need beside the record. */
export interface WordsContext {
  /** `NIGHTSHIFT_URL`, without a slash at the end; "" where unset. */
  url: string;
  /** The install's id, carried by buttons. */
  install: string;
  now: number;
  /** HMAC for the buttons' value over incident, nonce and digest. */
  seal(incident: IncidentRecord): string;
  /** False where Slack is not configured: the page then says how to approve. */
  slack: boolean;
  /** The incidents that a storm tells for, the first by time, and how many there are; null for any other record. */
  storm: { members: readonly StormMember[]; total: number } | null;
}
