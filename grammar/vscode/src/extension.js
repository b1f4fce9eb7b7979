// Starts `tunelang lsp` and lets it serve every recipe that is open.
// @ts-check
import { commands, window, workspace } from "vscode";
import { LanguageClient } from "vscode-languageclient/node";

/** @type {LanguageClient | undefined} */
let client;

/** @param {import("vscode").ExtensionContext} context */
export async function activate(context) {
  context.subscriptions.push(
    commands.registerCommand("tunelang.restart", restart),
    workspace.onDidChangeConfiguration((change) => {
      if (change.affectsConfiguration("tunelang.path")) restart();
    }),
    workspace.onDidGrantWorkspaceTrust(restart),
  );
  await restart();
}

export function deactivate() {
  return client?.stop();
}

async function restart() {
  await client?.dispose();
  client = undefined;
  // The path may come from the workspace: a stranger's folder must not choose what is run.
  if (!workspace.isTrusted) return;
  const command = workspace.getConfiguration("tunelang").get("path", "tunelang");
  const started = new LanguageClient(
    "tunelang",
    "TuneLang",
    { command, args: ["lsp"] },
    { documentSelector: [{ language: "tune" }] },
  );
  try {
    await started.start();
    client = started; // one that did not start cannot be stopped
  } catch (problem) {
    window.showErrorMessage(
      `\`${command} lsp\` does not start: ${problem}. ` +
        "Install TuneLang with its `lsp` extra, or set `tunelang.path`.",
    );
  }
}
