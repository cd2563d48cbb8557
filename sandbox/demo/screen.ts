/** Where the demo is told: one screen at a terminal, lines on a pipe, JSON with `--json`. */

export interface Panes {
  phone: string[];
  pager: string[];
  cluster: string[];
}

export interface Screen {
  /** One line of the story. `event` names it for `--json`. */
  say(event: string, text: string, data?: Record<string, unknown>): void;
  show(panes: Partial<Panes>): void;
  /** Asks for one of the keys; with `--yes`, and where nobody can answer, the first one is taken. */
  ask(question: string, keys: readonly string[]): Promise<string>;
  close(): void;
}

export interface ScreenOptions {
  /** What stands above it. */
  title: string;
  mode: "screen" | "lines" | "json";
  yes: boolean;
  started: number;
  onInterrupt(): void;
}

const STORY_LINES = 16;
/** Where the words of a story's line begin, after its time. */
const INDENT = 10;

export function createScreen(options: ScreenOptions): Screen {
  const { mode } = options;
  const story: string[] = [];
  const panes: Panes = { phone: [], pager: [], cluster: [] };
  let prompt = "";
  const seconds = () => ((performance.now() - options.started) / 1000).toFixed(1);
  let waiting: ((key: string) => void) | null = null;
  const tty = mode === "screen";

  if (tty) {
    process.stdout.write("\u001b[?1049h\u001b[?25l");
    process.stdin.setRawMode?.(true);
    process.stdin.resume();
    process.stdin.on("data", (chunk: Buffer) => {
      const key = chunk.toString();
      if (key === "\u0003") options.onInterrupt();
      else waiting?.(key);
    });
  }

  function draw(): void {
    if (!tty) return;
    const width = Math.min(process.stdout.columns ?? 100, 110);
    const height = process.stdout.rows ?? 40;
    const rule = (title: string) => `── ${title} ${"─".repeat(Math.max(0, width - title.length - 4))}`;
    const fit = (line: string) => (line.length <= width ? line : `${line.slice(0, width - 1)}…`);
    const lower = [
      rule("Slack, as a phone shows it"),
      ...panes.phone.slice(0, 18),
      rule("PagerDuty"),
      ...(panes.pager.length > 0 ? panes.pager.slice(-2).flatMap((line) => wrapped(line, width, 7)) : ["quiet"]),
      rule("The cluster"),
      ...panes.cluster.slice(0, 4),
    ];
    const told = story.flatMap((line) => wrapped(line, width, INDENT));
    const room = Math.max(4, Math.min(STORY_LINES, height - lower.length - 3));
    const lines = [
      rule(`Nightshift: ${options.title}`),
      ...(story.length === 0 ? ["        …  starting what the story is played with"] : told).slice(-room),
      ...lower,
      prompt === "" ? "" : `▶ ${prompt}`,
    ];
    process.stdout.write(
      `\u001b[H${lines
        .slice(0, height - 1)
        .map((line) => `${fit(line)}\u001b[K`)
        .join("\n")}\u001b[J`,
    );
  }

  draw();
  return {
    say(event, text, data = {}) {
      if (mode === "json")
        process.stdout.write(`${JSON.stringify({ t: Number(seconds()), event, says: text, ...data })}\n`);
      else if (mode === "lines") process.stdout.write(`${seconds().padStart(6)} s  ${text}\n`);
      story.push(`${seconds().padStart(6)} s  ${text}`);
      draw();
    },
    show(next) {
      const before = JSON.stringify(panes);
      Object.assign(panes, next);
      if (JSON.stringify(panes) === before) return;
      if (mode === "lines" && next.phone && next.phone.length > 0)
        for (const line of next.phone) process.stdout.write(`            │ ${line}\n`);
      draw();
    },
    async ask(question, keys) {
      const [first = "y"] = keys;
      if (options.yes || !tty) {
        if (mode !== "json")
          this.say("answered", `${question}  → ${first}${options.yes ? "" : " (nobody can press a key here)"}`);
        await new Promise((done) => setTimeout(done, 1200));
        return first;
      }
      prompt = question;
      draw();
      const key = await new Promise<string>((resolve) => {
        waiting = (pressed) => {
          if (keys.includes(pressed)) resolve(pressed);
        };
      });
      waiting = null;
      prompt = "";
      draw();
      return key;
    },
    close() {
      if (!tty) return;
      process.stdin.setRawMode?.(false);
      process.stdin.pause();
      process.stdout.write("\u001b[?25h\u001b[?1049l");
      for (const line of story) process.stdout.write(`${line}\n`);
    },
  };
}

/** A line in pieces that fit, broken between words; what follows is indented. */
function wrapped(line: string, width: number, indent: number): string[] {
  const pieces: string[] = [];
  let rest = line;
  while (rest.length > width) {
    const space = rest.lastIndexOf(" ", width);
    const at = space > indent ? space : width;
    pieces.push(rest.slice(0, at));
    rest = " ".repeat(indent) + rest.slice(at).trimStart();
  }
  return [...pieces, rest];
}
