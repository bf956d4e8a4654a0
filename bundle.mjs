// Makes dist/bin/erofsify.js of the compiled code: the same program in a few files. Node.js takes half a millisecond for
// each module that it loads, and `erofsify run` needs 220 of them before it can start a guest. blobd, which starts once
// and stays, is left as it is.
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { build } from "esbuild";

const OUT = "dist/bin";
const { dependencies } = JSON.parse(readFileSync("package.json", "utf8"));

/** A module's own place stays what it is: it finds workers, scripts and pages by it. */
const keepPlaces = {
  name: "keep-places",
  setup({ onLoad }) {
    onLoad({ filter: /\/dist\/.*\.js$/ }, async ({ path }) => {
      const place = `new URL(${JSON.stringify(relative(OUT, path))}, import.meta.url).href`;
      return { contents: (await readFile(path, "utf8")).replaceAll("import.meta.url", place), loader: "js" };
    });
  },
};

const { metafile } = await build({
  metafile: true,
  entryPoints: { erofsify: "dist/builder/cli/main.js" },
  outdir: OUT,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20",
  sourcemap: true,
  // Libraries stay in node_modules, but for the one that every command needs.
  external: Object.keys(dependencies).filter((name) => name !== "commander"),
  banner: { js: 'import { createRequire as requireFrom } from "node:module";\nconst require = requireFrom(import.meta.url);' },
  plugins: [keepPlaces],
});

// What an earlier build has left goes last: whoever runs meanwhile finds what it needs.
const made = new Set(Object.keys(metafile.outputs).map((path) => basename(path)));
for (const name of readdirSync(OUT)) if (!made.has(name)) rmSync(join(OUT, name));
