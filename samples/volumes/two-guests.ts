import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { bootWithVolume, type Setting, VOLUME } from "./guests.ts";
import type { KindName } from "./kinds.ts";
import { FSLOAD } from "./place.ts";

/** Longer than what guests know of files and names stays valid (`--cache auto`), in ms. */
const VALIDITY_MS = 1200;
const SHARED_BYTES = 8 << 20;

/** Two guests with a server each have the same folder: what one does, the other and the host see. */
export async function twoGuests(setting: Setting, kind: KindName, dax: boolean): Promise<void> {
  const folderName = "shared";
  const [one, other] = await Promise.all([
    bootWithVolume(setting, kind, { folderName }),
    bootWithVolume(setting, kind, { folderName }),
  ]);
  try {
    await filesOfOneAnother(one.guest, other.guest, one.folder);
    await dataOfOneAnother(one.guest, other.guest, one.folder, dax);
    await atOnce(one.guest, other.guest, one.folder);
  } finally {
    await Promise.all([one.end(), other.end()]);
  }
}

type Shell = { shell(script: string): Promise<string> };

async function filesOfOneAnother(one: Shell, other: Shell, folder: string): Promise<void> {
  await one.shell(`echo 'from one' >${VOLUME}/file && mkdir ${VOLUME}/folder`);
  assert.equal(await other.shell(`cat ${VOLUME}/file`), "from one\n");
  await other.shell(`echo 'from the other' >>${VOLUME}/file; mv ${VOLUME}/file ${VOLUME}/folder/moved`);
  await sleep(VALIDITY_MS);
  assert.equal(await one.shell(`cat ${VOLUME}/folder/moved; ls ${VOLUME}`), "from one\nfrom the other\nfolder\n");
  assert.equal(readFileSync(join(folder, "folder/moved"), "latin1"), "from one\nfrom the other\n");
  // Open in one, removed by the other.
  await one.shell(`exec 5<${VOLUME}/folder/moved`);
  await other.shell(`rm -r ${VOLUME}/folder`);
  await sleep(VALIDITY_MS);
  assert.equal(await one.shell(`cat <&5; exec 5<&-; ls ${VOLUME}`), "from one\nfrom the other\n");
}

async function dataOfOneAnother(one: Shell, other: Shell, folder: string, dax: boolean): Promise<void> {
  const path = `${VOLUME}/data`;
  writeFileSync(join(folder, "data"), Buffer.alloc(SHARED_BYTES));
  await sleep(VALIDITY_MS);
  // The other has seen the old data before.
  await other.shell(`${FSLOAD} mapread ${path}`);
  await one.shell(`${FSLOAD} mapwrite ${path} ${SHARED_BYTES}`);
  // By DAX both have the host's pages; otherwise what is cached is held against the file's time when it is opened.
  if (!dax) await sleep(VALIDITY_MS);
  await other.shell(`${FSLOAD} check ${path} ${SHARED_BYTES}`);
  await one.shell(`${FSLOAD} randwrite ${path} 300`);
  await other.shell(`${FSLOAD} check ${path} ${SHARED_BYTES}`);
  writeFileSync(join(folder, "data"), "x".repeat(5000), { flag: "r+" });
  if (!dax) await sleep(VALIDITY_MS);
  assert.equal(await one.shell(`head -c 5001 ${path} | tr -d x | wc -c`), "1\n");
}

/** Files made, renamed and removed in one folder by both at the same time. */
async function atOnce(one: Shell, other: Shell, folder: string): Promise<void> {
  const script = (name: string) => `mkdir -p ${VOLUME}/busy; cd ${VOLUME}/busy
    for i in $(seq 60); do
      echo ${name} $i >${name}-$i.tmp && mv ${name}-$i.tmp ${name}-$i && echo ${name} $i >last && ln ${name}-$i ${name}-link &&
      rm ${name}-link || exit 1
    done; ls | grep -c '^${name}-[0-9]*$'; cd /`;
  assert.deepEqual(await Promise.all([one.shell(script("a")), other.shell(script("b"))]), ["60\n", "60\n"]);
  for (const name of ["a", "b"])
    for (let i = 1; i <= 60; i++)
      assert.equal(readFileSync(join(folder, `busy/${name}-${i}`), "latin1"), `${name} ${i}\n`);
  assert.match(readFileSync(join(folder, "busy/last"), "latin1"), /^[ab] 60\n$/);
}
