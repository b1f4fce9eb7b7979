// What VS Code's own tokeniser makes of recipes: `node tokenise.mjs FILE...` prints a JSON list a
// file, of [start, end, scope] in UTF-16 units from the start of the file. For the tests.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import oniguruma from "vscode-oniguruma";
import textmate from "vscode-textmate";

const GRAMMAR = new URL("syntaxes/tune.tmLanguage.json", import.meta.url);
const wasm = createRequire(import.meta.url).resolve("vscode-oniguruma/release/onig.wasm");
await oniguruma.loadWASM(readFileSync(wasm).buffer);

const registry = new textmate.Registry({
  onigLib: Promise.resolve({
    createOnigScanner: (patterns) => new oniguruma.OnigScanner(patterns),
    createOnigString: (text) => new oniguruma.OnigString(text),
  }),
  loadGrammar: async () => textmate.parseRawGrammar(readFileSync(GRAMMAR, "utf8"), GRAMMAR.pathname),
});
const grammar = await registry.loadGrammar("source.tune");

function tokens(text) {
  const found = [];
  let stack = textmate.INITIAL;
  let offset = 0;
  for (const line of text.split("\n")) {
    const result = grammar.tokenizeLine(line, stack);
    for (const { startIndex, endIndex, scopes } of result.tokens)
      found.push([offset + startIndex, offset + endIndex, scopes.slice(1).join(" ")]);
    stack = result.ruleStack;
    offset += line.length + 1;
  }
  return found;
}

for (const file of process.argv.slice(2))
  console.log(JSON.stringify(tokens(readFileSync(file, "utf8"))));
