// Compiles miniprogram/ into build/, which the developer tools can open as it is: tsc emits the scripts, the rest is copied.

import { spawnSync } from "node:child_process"
import { cpSync, rmSync, statSync } from "node:fs"
import { createRequire } from "node:module"
import { extname } from "node:path"

const SHOWN = [".json", ".wxml", ".wxss"]
rmSync("build", { recursive: true, force: true })
const compiler = createRequire(import.meta.url).resolve("typescript/bin/tsc")
const { status } = spawnSync(process.execPath, [compiler, "-p", "."], { stdio: "inherit" })
if (status !== 0) process.exit(status ?? 1)
cpSync("miniprogram", "build", {
  recursive: true,
  filter: (path) => statSync(path).isDirectory() || SHOWN.includes(extname(path)),
})
