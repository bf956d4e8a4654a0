import assert from "node:assert/strict";
import { join } from "node:path";
import { run } from "../../builder/testkit/index.ts";
import type { Workload } from "./place.ts";

const statements = (journal: string, mmapBytes: number, rows: number) => `
  pragma journal_mode=${journal}; pragma mmap_size=${mmapBytes}; pragma synchronous=full;
  create table t(id integer primary key, name text, data blob);
  with recursive n(i) as (select 1 union all select i + 1 from n where i < ${rows})
    insert into t select i, 'name ' || (i * 7919 % ${rows}), zeroblob(i % 900) from n;
  create index t_name on t(name);
  begin; update t set name = name || ' changed' where id % 3 = 0; rollback;
  begin; update t set data = zeroblob(3000) where id % 97 = 0; commit;
  delete from t where id % 5 = 0;
  vacuum;
  insert into t(name) values ('last');
  pragma integrity_check;
  select count(*), sum(length(data)), max(name) from t;`;

const KINDS = [
  ["wal", 64 << 20],
  ["delete", 0],
] as const;

/** A database on the volume, by write-ahead log and mapped, and by a rollback journal; then by two processes at once. */
export const sqlite: Workload = {
  name: "SQLite: WAL with mmap, rollback journal, two processes",
  async run({ guest, volume, folder, sizes, note }) {
    for (const [journal, mmapBytes] of KINDS) {
      const startMs = performance.now();
      const on = (path: string) =>
        guest.shell(`cat >/tmp/statements <<'END'
${statements(journal, mmapBytes, sizes.rows)}
END
sqlite3 -batch -bail ${path} </tmp/statements && sqlite3 -readonly ${path} .dump | cksum`);
      const said = await on(`${volume}/${journal}.db`);
      note(`${journal}: ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
      assert.match(said, /\nok\n/);
      assert.equal(said, await on(`/tmp/${journal}.db`), "as in the guest's memory");
    }
    const path = `${volume}/wal.db`;
    const writer = (name: string) =>
      `for i in 1 2 3 4 5 6 7 8 9 10; do sqlite3 -cmd '.timeout 20000' ${path} "insert into t(name) values ('${name} $i')" || exit 1; done`;
    const counted = await guest.shell(`(${writer("a")}) & one=$!; (${writer("b")}) & two=$!
      wait $one && wait $two && sqlite3 ${path} "select count(*) from t where name like 'a %' or name like 'b %'; pragma integrity_check;"`);
    assert.equal(counted, "20\nok\n");
    // What one has closed, the other side reads.
    const inGuest = await guest.shell(`cd ${volume} && sha256sum wal.db delete.db; cd /`);
    assert.equal((await run("sha256sum", ["wal.db", "delete.db"], { cwd: join(folder) })).stdout, inGuest);
  },
};
