// Just enough of VS Code to start the bundled extension in node: `node vscode.js BUNDLE COMMAND
// TRUSTED`. Prints what the editor would show, then `activated`. For tests/test_vscode.py.
const Module = require("node:module");
const [bundle, command, trusted] = process.argv.slice(2);

const disposable = { dispose() {} };
const nothing = () => disposable;
/** An object whose other members are functions that do nothing. */
const lenient = (known) => new Proxy(known, { get: (it, key) => (key in it ? it[key] : nothing) });

class CodeActionKind {
  constructor(value) { this.value = value; }
  append(part) { return new CodeActionKind(`${this.value}.${part}`); }
}
CodeActionKind.Empty = new CodeActionKind("");

const known = {
  CodeActionKind: new Proxy(CodeActionKind, { get: (it, key) => it[key] ?? it.Empty }),
  EventEmitter: class { event = nothing; fire() {} dispose() {} },
  Uri: { parse: String, file: String },
  commands: { registerCommand: nothing },
  env: { language: "en", appName: "test" },
  extensions: { getExtension: () => undefined, all: [] },
  languages: lenient({}),
  version: "1.91.0",
  window: lenient({
    createOutputChannel: () => lenient({}),
    showErrorMessage: async (text) => console.log(text),
    tabGroups: lenient({ all: [] }),
    visibleTextEditors: [],
  }),
  workspace: lenient({
    getConfiguration: () => ({ get: (key, fallback) => (key === "path" ? command : fallback) }),
    isTrusted: trusted === "trusted",
    textDocuments: [],
    workspaceFolders: undefined,
  }),
};
// What else is asked for is a class that something extends.
const vscode = new Proxy(known, { get: (it, key) => (it[key] ??= class {}) });

const load = Module._load;
Module._load = (name, ...rest) => (name === "vscode" ? vscode : load(name, ...rest));
require(bundle).activate({ subscriptions: [] }).then(() => {
  console.log("activated");
  process.exit(0);
});
