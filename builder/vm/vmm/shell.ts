/** A command as a line for a shell, an option and its value a line, so that people can read and paste it. */
export function formatCommand(command: string, args: readonly string[]): string {
  const lines = [quote(command)];
  for (const arg of args) {
    if (arg.startsWith("-")) lines.push(quote(arg));
    else lines.push(`${lines.pop()} ${quote(arg)}`);
  }
  return `${lines.join(" \\\n  ")}\n`;
}

/** One word as a shell reads it. */
export function quote(arg: string): string {
  return /^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", "'\\''")}'`;
}
