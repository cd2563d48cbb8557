/**
 * What people did to a workload between two looks, as far as the cluster's own history tells. Pure. What cannot be told is
 * a doubt, never a guess: a doubt makes the comparison "unknown" unless a deed is certain to be what the plan says.
 */
import { podDeeds } from "./deeds-pods.js";
import { templateDeeds } from "./deeds-template.js";
import { type Between, byMachine, byUs, type Deed, type Deeds, inside } from "./deed.js";
import { newest, type SeenWrite, type Sight } from "./shadow.js";

export function deedsBetween(q: Between, name: { kind: string; name: string }): Deeds {
  const { before, after, window } = q;
  const out: Deeds = { deeds: [], doubts: [...new Set([...before.notRead, ...after.notRead])] };
  if (before.workload === null) return { ...out, doubts: ["it was not there when this was decided"] };
  const add = (deed: Deed, at: number | null, exact = false) => {
    const when = inside(window, at, exact);
    if (when === "no") return;
    if (byUs(deed.by)) out.doubts.push("Nightshift itself changed it in that time");
    else if (when === "unknown") out.doubts.push("it was changed, and by now it cannot be told whether in that time");
    else out.deeds.push(deed);
  };
  if (after.workload === null) {
    add({ what: "gone", by: "" }, null);
    return out;
  }
  const wrote = (which: (write: SeenWrite) => boolean) => newest(after.writes.filter(which));

  const templates = templateDeeds(q);
  for (const { deed, at, exact } of templates.deeds) add(deed, at, exact);
  out.doubts.push(...templates.doubts);

  const scaler = wrote((write) => write.replicas);
  const machine = scaler !== undefined && byMachine(scaler.manager);
  const resized = before.workload.replicas !== after.workload.replicas;
  const { replicas: from } = before.workload;
  const { replicas: to } = after.workload;
  if (resized && scaler === undefined && after.bounds.length > 0)
    out.doubts.push("its replicas changed, and whether its autoscaler did it is not written anywhere");
  else if (resized && !machine)
    add({ what: "scale", ...name, field: "/spec/replicas", from, to, by: scaler?.manager ?? "" }, scaler?.at ?? null);
  boundDeeds(q, { add, doubts: out.doubts });

  if (before.workload.paused !== after.workload.paused) {
    const writer = wrote((write) => !byMachine(write.manager));
    const by = writer?.manager ?? "";
    add({ what: after.workload.paused ? "paused" : "resumed", by }, writer?.at ?? null);
  }
  if (before.workload.rest !== after.workload.rest) {
    const writer = wrote((write) => !byMachine(write.manager));
    add({ what: "spec", by: writer?.manager ?? "" }, writer?.at ?? null);
  }
  const moved = after.workload.generation !== before.workload.generation;
  const scaledMeanwhile = machine && (scaler.at === null ? moved : scaler.at > before.at);
  const pods = podDeeds(q, {
    explained: out.deeds.some((deed) => ["rollback", "release", "restart", "scale"].includes(deed.what)),
    fewer: machine && from !== null && to !== null ? Math.max(0, from - to) : 0,
    restless: !before.workload.settled || templates.changed || resized || scaledMeanwhile,
  });
  if (pods.deed !== null) add(pods.deed, null);
  out.doubts.push(...pods.doubts);
  if (out.deeds.length === 0) out.doubts.push(...putBack(q));
  return out;
}

function boundDeeds(
  q: Between,
  to: { add(deed: Deed, at: number | null, exact?: boolean): void; doubts: string[] },
): void {
  const key = (one: { kind: string; name: string; field: string }) => `${one.kind} ${one.name} ${one.field}`;
  const was = new Map(q.before.bounds.map((one) => [key(one), one]));
  const is = new Map(q.after.bounds.map((one) => [key(one), one]));
  for (const one of new Map([...was, ...is]).values()) {
    const [before, after] = [was.get(key(one)), is.get(key(one))];
    if ((before?.value ?? null) === (after?.value ?? null)) continue;
    // KEDA writes the bounds of its own HorizontalPodAutoscaler: what people wrote is the ScaledObject.
    if (after !== undefined && byMachine(after.by)) continue;
    const { kind, name, field } = one;
    const deed = {
      what: "scale" as const,
      kind,
      name,
      field,
      from: before?.value ?? null,
      to: after?.value ?? null,
      by: after?.by ?? "",
    };
    to.add(deed, after?.at ?? null);
  }
}

/**
 * A person wrote the spec and it looks as it did: something was done and taken back, or done where no look goes. Writes of
 * the scale subresource carry no time: there the generation tells that something was written.
 */
function putBack({ before, after }: Between): string[] {
  const people = after.writes.filter((write) => !byMachine(write.manager));
  const last = (sight: Sight) =>
    Math.max(0, ...sight.writes.filter((write) => !byMachine(write.manager)).map((write) => write.at ?? 0));
  const moved = after.workload?.generation !== before.workload?.generation;
  const untimed = people.find((write) => write.at === null);
  const writer = last(after) > last(before) ? newest(people) : moved ? untimed : undefined;
  return writer === undefined
    ? []
    : [`${writer.manager || "somebody"} wrote it in that time, and it looks as it did before`];
}
