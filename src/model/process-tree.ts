// SPDX-License-Identifier: Apache-2.0
// Which processes belong to a job. A job covers the whole tree of its root, because a tree may hold
// several clients and many processes that never touch the GPU, and CRIU dumps trees.

/** One row of /proc, as src/host reads it. */
export interface ProcessRow {
  readonly pid: number;
  readonly parentPid: number;
  /** Clock ticks since boot; with the pid it names a process for good. */
  readonly startTime: bigint;
}

/**
 * The root and everything below it, root first, parents before their children.
 *
 * @returns an empty list when the root is not among the rows
 */
export function processTree<R extends ProcessRow>(rows: readonly R[], rootPid: number): R[] {
  const children = new Map<number, R[]>();
  let root: R | null = null;
  for (const row of rows) {
    if (row.pid === rootPid) root = row;
    else children.set(row.parentPid, [...(children.get(row.parentPid) ?? []), row]);
  }
  if (root === null) return [];
  const tree: R[] = [root];
  // The list grows while it is walked; a pid appears once in /proc, so the walk ends.
  for (const row of tree) tree.push(...(children.get(row.pid) ?? []));
  return tree;
}

/** Members of a tree that are clients, in tree order: the order of gpu-K in an image. */
export function clientsOfTree<C extends { readonly pid: number }>(
  tree: readonly ProcessRow[],
  clients: readonly C[],
): C[] {
  const byPid = new Map(clients.map((client) => [client.pid, client]));
  return tree.flatMap((row) => {
    const client = byPid.get(row.pid);
    return client === undefined ? [] : [client];
  });
}

/** True when two views of a tree hold the same processes (pid and start time). */
export function sameTree(a: readonly ProcessRow[], b: readonly ProcessRow[]): boolean {
  const key = (row: ProcessRow) => `${row.pid}:${row.startTime}`;
  const left = new Set(a.map(key));
  return left.size === b.length && b.every((row) => left.has(key(row)));
}
