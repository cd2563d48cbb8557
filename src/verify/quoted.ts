/** A label's value as a string of PromQL, quotes included: nothing from a label reaches a query otherwise. */
export function quoted(value: string): string {
  return `"${value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n")}"`;
}
