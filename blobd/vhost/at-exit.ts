const actions = new Set<() => void>();

function runAll(): void {
  for (const action of actions) action();
}

/**
 * Has something done when the process ends: a thread that sleeps in poll(2) would hold it up and must be woken. One listener
 * for all, since Node.js warns of more than ten.
 * @returns takes it back
 */
export function atExit(action: () => void): () => void {
  if (actions.size === 0) process.on("exit", runAll);
  actions.add(action);
  return () => {
    actions.delete(action);
    if (actions.size === 0) process.off("exit", runAll);
  };
}
