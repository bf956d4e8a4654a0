import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { bootWithVolume, type Setting, type VolumeGuest } from "./guests.ts";
import { isMapped, type KindName } from "./kinds.ts";
import { FSLOAD } from "./place.ts";

/** Longer than what guests know of files and names stays valid (`--cache auto`), in ms. */
const VALIDITY_MS = 1200;
const SHARED_BYTES = 4 << 20;
const FILES = 30;
const LINES = 40;
/** By these, locks of one guest hold for the other. */
const BLOBD_LOCKS = ["--flock", "--posix-locks"];

/** Two guests with a server each have the same folder: what one does, the other and the host see. */
export async function twoGuests(setting: Setting, kind: KindName, note: (text: string) => void): Promise<void> {
  const hasLocks = kind !== "virtiofsd";
  const options = { folderName: "shared", serverOptions: hasLocks ? BLOBD_LOCKS : [] };
  const guests = await bootBoth(setting, kind, options);
  const [one, other] = guests;
  try {
    const parts = { filesOfOneAnother, dataOfOneAnother, ...(hasLocks && { locks }), appends, atOnce };
    for (const [name, part] of Object.entries(parts)) {
      const startMs = performance.now();
      await part(one, other, isMapped(kind));
      note(`${name}: ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
    }
  } finally {
    await Promise.all(guests.map((guest) => guest.end()));
  }
}

/** One that does not come up does not leave the other running. */
async function bootBoth(...boot: Parameters<typeof bootWithVolume>): Promise<[VolumeGuest, VolumeGuest]> {
  const both = await Promise.allSettled([bootWithVolume(...boot), bootWithVolume(...boot)]);
  const up = both.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  const [one, other] = up;
  if (one !== undefined && other !== undefined) return [one, other];
  for (const guest of up) await guest.end();
  throw both.find((result) => result.status === "rejected")?.reason;
}

async function filesOfOneAnother(
  { guest: one, volume, folder }: VolumeGuest,
  { guest: other }: VolumeGuest,
): Promise<void> {
  await one.shell(`echo 'from one' >${volume}/file && mkdir ${volume}/folder`);
  assert.equal(await other.shell(`cat ${volume}/file`), "from one\n");
  await other.shell(`echo 'from the other' >>${volume}/file; mv ${volume}/file ${volume}/folder/moved`);
  await sleep(VALIDITY_MS);
  assert.equal(await one.shell(`cat ${volume}/folder/moved; ls ${volume}`), "from one\nfrom the other\nfolder\n");
  assert.equal(readFileSync(join(folder, "folder/moved"), "latin1"), "from one\nfrom the other\n");
  // Open in one, removed by the other.
  await one.shell(`exec 5<${volume}/folder/moved`);
  await other.shell(`rm -r ${volume}/folder`);
  await sleep(VALIDITY_MS);
  assert.equal(await one.shell(`cat <&5; exec 5<&-; ls ${volume}`), "from one\nfrom the other\n");
}

async function dataOfOneAnother(
  { guest: one, volume, folder }: VolumeGuest,
  { guest: other }: VolumeGuest,
  dax: boolean,
): Promise<void> {
  const path = `${volume}/data`;
  writeFileSync(join(folder, "data"), Buffer.alloc(SHARED_BYTES));
  await sleep(VALIDITY_MS);
  // The other has seen the old data before.
  await other.shell(`${FSLOAD} mapread ${path}`);
  await one.shell(`${FSLOAD} mapwrite ${path} ${SHARED_BYTES}`);
  // By DAX both have the host's pages; otherwise what is cached is held against the file's time when it is opened.
  if (!dax) await sleep(VALIDITY_MS);
  await other.shell(`${FSLOAD} check ${path} ${SHARED_BYTES}`);
  await one.shell(`${FSLOAD} randwrite ${path} 300`);
  if (!dax) await sleep(VALIDITY_MS);
  await other.shell(`${FSLOAD} check ${path} ${SHARED_BYTES}`);
  writeFileSync(join(folder, "data"), "x".repeat(5000), { flag: "r+" });
  if (!dax) await sleep(VALIDITY_MS);
  assert.equal(await one.shell(`head -c 5001 ${path} | tr -d x | wc -c`), "1\n");
}

/** What one has locked, the other gets only when it is free: at once refused, or waited for. */
async function locks({ guest: one, volume }: VolumeGuest, { guest: other }: VolumeGuest): Promise<void> {
  const file = `${volume}/locked`;
  await one.shell(`exec 6>${file}; flock 6`);
  const tried = `flock --nonblock --conflict-exit-code 9 ${file} true; echo $?`;
  assert.equal(await other.shell(tried), "9\n");
  const waiting = other.shell(`flock ${file} cat ${volume}/under-lock`);
  await sleep(500);
  await one.shell(`echo 'written under the lock' >${volume}/under-lock; exec 6>&-`);
  assert.equal(await waiting, "written under the lock\n");
  assert.equal(await one.shell(tried), "0\n");
}

/** Both append to one file at the same time: no line is lost, and none is torn. */
async function appends({ guest: one, volume, folder }: VolumeGuest, { guest: other }: VolumeGuest): Promise<void> {
  const script = (name: string) =>
    `i=0; while [ $i -lt ${LINES} ]; do echo "${name} line $i" >>${volume}/log; i=$((i + 1)); done`;
  await Promise.all([one.shell(script("one")), other.shell(script("other"))]);
  const lines = readFileSync(join(folder, "log"), "latin1").trimEnd().split("\n");
  const expected = ["one", "other"].flatMap((name) => Array.from({ length: LINES }, (_, i) => `${name} line ${i}`));
  assert.deepEqual(lines.toSorted(), expected.toSorted());
  await sleep(VALIDITY_MS);
  for (const guest of [one, other]) assert.equal(await guest.shell(`wc -l <${volume}/log`), `${2 * LINES}\n`);
}

/** Files made, renamed, linked and removed in one folder by both at the same time. */
async function atOnce({ guest: one, volume, folder }: VolumeGuest, { guest: other }: VolumeGuest): Promise<void> {
  const script = (name: string) => `mkdir -p ${volume}/busy; cd ${volume}/busy
    for i in $(seq ${FILES}); do
      echo ${name} $i >${name}-$i.tmp && mv ${name}-$i.tmp ${name}-$i && echo ${name} $i >last && ln ${name}-$i ${name}-link &&
      rm ${name}-link || exit 1
    done; ls | grep -c '^${name}-[0-9]*$'; cd /`;
  assert.deepEqual(await Promise.all([one.shell(script("a")), other.shell(script("b"))]), [`${FILES}\n`, `${FILES}\n`]);
  for (const name of ["a", "b"])
    for (let i = 1; i <= FILES; i++)
      assert.equal(readFileSync(join(folder, `busy/${name}-${i}`), "latin1"), `${name} ${i}\n`);
  assert.match(readFileSync(join(folder, "busy/last"), "latin1"), new RegExp(`^[ab] ${FILES}\n$`));
}
