// Bundles the extension into dist/, with the licences of what the bundle holds.
import { build } from "esbuild";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";

const { metafile } = await build({
  entryPoints: ["src/extension.js"],
  outfile: "dist/extension.js",
  bundle: true,
  minify: true,
  platform: "node",
  target: "node20",
  format: "cjs",
  external: ["vscode"],
  metafile: true,
  logLevel: "warning",
});

/** The packages that a bundled file comes from, `node_modules/a/node_modules/b` as a whole. */
const folder = (path) => path.match(/^.*node_modules\/(@[^/]+\/)?[^/]+/)?.[0];

const folders = [...new Set(Object.keys(metafile.inputs).map(folder).filter(Boolean))].sort();
const notices = folders.map((place) => {
  const { name, version, license } = JSON.parse(readFileSync(`${place}/package.json`, "utf8"));
  const file = readdirSync(place).find((each) => /^licen[cs]e/i.test(each));
  if (!file) throw new Error(`${name} ${version} has no licence file`);
  return `${name} ${version} (${license})\n\n${readFileSync(`${place}/${file}`, "utf8").trim()}\n`;
});
const rule = `\n${"-".repeat(72)}\n\n`;
writeFileSync("dist/NOTICES.txt", `The extension bundles these packages.\n${rule}${notices.join(rule)}`);
