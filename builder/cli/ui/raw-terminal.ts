import { spawnSync } from "node:child_process";

/**
 * Makes the terminal on standard input pass every byte both ways as it is. Node's own raw mode would still turn a line
 * feed of the output into two characters.
 *
 * @returns what puts the terminal back; it is also done when the process exits.
 */
export function makeRaw(): () => void {
  const before = stty("-g");
  let isRaw = true;
  const restore = () => {
    if (isRaw) stty(before);
    isRaw = false;
    process.off("exit", restore);
  };
  process.on("exit", restore);
  stty("raw", "-echo");
  return restore;
}

function stty(...args: string[]): string {
  const { stdout } = spawnSync("stty", args, { stdio: ["inherit", "pipe", "ignore"], encoding: "utf8" });
  return stdout.trim();
}
