import { createServer } from "node:http";

/** The smallest stand-in for PagerDuty's Events API: takes events, merges by key. The full one is sandbox/pagerduty. */
export interface PagerStub {
  url: string;
  events: {
    event_action: string;
    dedup_key: string;
    payload?: { summary: string; severity: string; custom_details: Record<string, unknown> };
  }[];
  fail: number | null;
  stop(): Promise<void>;
}

export async function startPager(): Promise<PagerStub> {
  const stub: PagerStub = { url: "", events: [], fail: null, stop: async () => undefined };
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      if (stub.fail !== null) {
        response.writeHead(stub.fail).end("{}");
        return;
      }
      const event = JSON.parse(body) as PagerStub["events"][number];
      stub.events.push(event);
      response
        .writeHead(202, { "content-type": "application/json" })
        .end(JSON.stringify({ status: "success", message: "Event processed", dedup_key: event.dedup_key }));
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", () => done()));
  stub.url = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
  stub.stop = () => new Promise((done) => server.close(() => done()));
  return stub;
}
