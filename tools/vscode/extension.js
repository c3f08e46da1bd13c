// Starts `resnetc lsp` and hands the editor's questions on to it; all answers are the compiler's.
"use strict";

const vscode = require("vscode");
const { LanguageClient, TransportKind } = require("vscode-languageclient/node");

let client;

/** The command of the settings, with `${workspaceFolder}` filled in. */
function serverCommand() {
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath ?? "";
  const configured = vscode.workspace.getConfiguration("rnet").get("command");
  const [command, ...args] = configured.map((part) =>
    part.replaceAll("${workspaceFolder}", folder),
  );
  return { command, args, transport: TransportKind.stdio };
}

async function start() {
  const options = {
    documentSelector: [{ language: "rnet" }],
    synchronize: { fileEvents: vscode.workspace.createFileSystemWatcher("**/*.rnet") },
  };
  client = new LanguageClient("rnet", "rnet", serverCommand(), options);
  try {
    await client.start();
  } catch (error) {
    const choice = await vscode.window.showErrorMessage(
      `The rnet language server did not start: ${error.message}. ` +
        "It comes with `pip install 'resnetc[lsp]'`; the setting rnet.command says where it is.",
      "Open settings",
    );
    if (choice) {
      await vscode.commands.executeCommand("workbench.action.openSettings", "rnet.command");
    }
  }
}

async function stop() {
  const running = client;
  client = undefined;
  if (running?.isRunning()) {
    await running.stop();
  }
}

async function activate(context) {
  const restart = async () => {
    await stop();
    await start();
  };
  context.subscriptions.push(
    vscode.commands.registerCommand("rnet.restart", restart),
    vscode.workspace.onDidChangeConfiguration(
      (change) => change.affectsConfiguration("rnet.command") && restart(),
    ),
  );
  await start();
}

module.exports = { activate, deactivate: stop };
