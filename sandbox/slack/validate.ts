/** Slack's limits on messages, as its own SDK's types and pages state them. A stand-in must refuse what Slack refuses. */

type Json = Record<string, unknown>;

const MAX_BLOCKS = 50;
/** Not documented; seen by users as `msg_blocks_too_long`. */
const MAX_TOTAL = 13_200;

/** What Slack would refuse, with JSON pointers; an empty list is fine. */
export function blockFaults(blocks: unknown): string[] {
  if (!Array.isArray(blocks)) return ["must be an array [json-pointer:/blocks]"];
  const faults: string[] = [];
  if (blocks.length > MAX_BLOCKS) faults.push(`no more than ${MAX_BLOCKS} items allowed [json-pointer:/blocks]`);
  blocks.forEach((block, i) => blockFault(block as Json, `/blocks/${i}`, faults));
  if (JSON.stringify(blocks).length > MAX_TOTAL) faults.push("msg_blocks_too_long");
  return faults;
}

function blockFault(block: Json, at: string, faults: string[]): void {
  const tell = (what: string, where = "") => faults.push(`${what} [json-pointer:${at}${where}]`);
  if (typeof block["block_id"] === "string" && block["block_id"].length > 255)
    tell("must be less than 256 characters", "/block_id");
  switch (block["type"]) {
    case "header":
      textFault(block["text"], `${at}/text`, { faults, max: 150, types: ["plain_text"] });
      break;
    case "section":
      if (block["text"] === undefined && block["fields"] === undefined) tell("missing required field: text or fields");
      if (block["text"] !== undefined)
        textFault(block["text"], `${at}/text`, { faults, max: 3000, types: ["plain_text", "mrkdwn"] });
      for (const [i, field] of ((block["fields"] ?? []) as unknown[]).entries())
        textFault(field, `${at}/fields/${i}`, { faults, max: 2000, types: ["plain_text", "mrkdwn"] });
      if (((block["fields"] ?? []) as unknown[]).length > 10) tell("no more than 10 items allowed", "/fields");
      break;
    case "context": {
      const elements = (block["elements"] ?? []) as Json[];
      if (elements.length < 1 || elements.length > 10) tell("expected 1 to 10 items", "/elements");
      for (const [i, element] of elements.entries()) {
        if (element["type"] !== "image")
          textFault(element, `${at}/elements/${i}`, { faults, max: 2000, types: ["plain_text", "mrkdwn"] });
      }
      break;
    }
    case "actions": {
      const elements = (block["elements"] ?? []) as Json[];
      if (elements.length < 1 || elements.length > 25) tell("expected 1 to 25 items", "/elements");
      for (const [i, element] of elements.entries()) buttonFault(element, `${at}/elements/${i}`, faults);
      break;
    }
    case "divider":
      break;
    default:
      tell(`unsupported type: ${String(block["type"])}`, "/type");
  }
}

function buttonFault(element: Json, at: string, faults: string[]): void {
  const tell = (what: string, where: string) => faults.push(`${what} [json-pointer:${at}${where}]`);
  if (element["type"] !== "button") return;
  textFault(element["text"], `${at}/text`, { faults, max: 75, types: ["plain_text"] });
  if (String(element["value"] ?? "").length > 2000) tell("must be less than 2001 characters", "/value");
  if (String(element["action_id"] ?? "").length > 255) tell("must be less than 256 characters", "/action_id");
  if (String(element["url"] ?? "").length > 3000) tell("must be less than 3001 characters", "/url");
  const style = element["style"];
  if (style !== undefined && style !== "primary" && style !== "danger") tell("must be primary or danger", "/style");
}

function textFault(text: unknown, at: string, of: { faults: string[]; max: number; types: string[] }): void {
  const object = text as Json | undefined;
  const words = object?.["text"];
  if (typeof words !== "string" || words.length < 1)
    of.faults.push(`missing required field: text [json-pointer:${at}]`);
  else if (words.length > of.max)
    of.faults.push(`must be less than ${of.max + 1} characters [json-pointer:${at}/text]`);
  if (!of.types.includes(String(object?.["type"])))
    of.faults.push(`must be one of ${of.types.join(", ")} [json-pointer:${at}/type]`);
}
