/** What supervise.sh says on the control port; the protocol is described at its head. */
export type GuestMessage =
  | { readonly kind: "init"; readonly kernelSeconds: number }
  | { readonly kind: "mounted" }
  | { readonly kind: "exit"; readonly status: number }
  | { readonly kind: "failed"; readonly text: string };

/** Longest line, in bytes: a guest that sends more without an end of line is not ours. */
export const MAX_CONTROL_LINE = 4096;

/** Splits the port's bytes into messages. What is no message is passed over: the guest is not trusted to make sense. */
export class ControlReader {
  #line = "";

  push(chunk: Uint8Array): GuestMessage[] {
    const lines = (this.#line + Buffer.from(chunk).toString("latin1")).split("\n");
    this.#line = (lines.pop() ?? "").slice(0, MAX_CONTROL_LINE);
    return lines.flatMap((line) => parseMessage(line.slice(0, MAX_CONTROL_LINE)) ?? []);
  }
}

function parseMessage(line: string): GuestMessage | undefined {
  const space = line.indexOf(" ");
  const verb = space < 0 ? line : line.slice(0, space);
  const rest = space < 0 ? "" : line.slice(space + 1);
  switch (verb) {
    case "init":
      return { kind: "init", kernelSeconds: Number.parseFloat(rest) || 0 };
    case "mounted":
      return { kind: "mounted" };
    case "exit":
      return /^\d{1,3}$/.test(rest) ? { kind: "exit", status: Number(rest) & 0xff } : undefined;
    case "failed":
      return { kind: "failed", text: Buffer.from(rest, "latin1").toString("utf8") };
    default:
      return undefined;
  }
}
