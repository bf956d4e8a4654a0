/** What one run tells the guest's supervise.sh: shell assignments. */
export interface GuestSettings {
  /** Whether there is a control port to report on. */
  readonly supervised: boolean;
  /** Whether the command gets the terminal rather than pipes. */
  readonly tty: boolean;
  /** Size of the terminal; absent or 0 when it is not known. */
  readonly rows?: number;
  readonly columns?: number;
  /** Whether the host has input for the pipes. */
  readonly input: boolean;
  /** What follows the last byte of the command's output: only letters and digits. */
  readonly endMark: string;
  /** Sizes of the pmem devices in bytes, metadata first. */
  readonly pmemSizes: readonly number[];
  /** Whether the image itself is the root, without an overlay for writes. */
  readonly readOnly: boolean;
  /** The block device for writes, as the guest calls it. */
  readonly scratch?: string;
  readonly hostname: string;
  /** How the guest ends itself in a way that its VMM takes for the end. */
  readonly halt: "poweroff" | "reboot";
}

export function formatSettings(settings: GuestSettings): string {
  const flag = (value: boolean) => (value ? "1" : "");
  const values: Record<string, string> = {
    supervised: flag(settings.supervised),
    tty: flag(settings.tty),
    rows: String(settings.rows || ""),
    columns: String(settings.columns || ""),
    input: flag(settings.input),
    end_mark: settings.endMark,
    pmem_sizes: settings.pmemSizes.join(" "),
    read_only: flag(settings.readOnly),
    scratch: settings.scratch ?? "",
    hostname: settings.hostname,
    halt: settings.halt,
  };
  return Object.entries(values)
    .map(([name, value]) => `${name}=${quote(value)}\n`)
    .join("");
}

/** In single quotes every byte stands for itself, but for the quote. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
