// wxml → the script that glass-easel mounts, by its own compiler, which runs in node alone.
//
//     node generate.mjs NODE_MODULES FILES.json      writes path → script, for a browser

import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { fileURLToPath } from "node:url"
import { BUILT_IN } from "./screen.mjs"

export function generator(modules) {
  const { TmplGroup } = createRequire(`${modules}/x.js`)("glass-easel-template-compiler")
  return (path, wxml) => {
    if (wxml === undefined) throw new Error(`there is no ${path}.wxml`)
    const group = new TmplGroup()
    group.addTmpl(path, wxml)
    const script = group.getTmplGenObjectGroups()
    group.free()
    return script
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [modules, name] = process.argv.slice(2)
  const files = JSON.parse(readFileSync(name, "utf-8"))
  const generate = generator(modules)
  const scripts = Object.fromEntries(Object.entries(BUILT_IN).map(([path, wxml]) => [path, generate(path, wxml)]))
  for (const [path, wxml] of Object.entries(files)) {
    if (path.endsWith(".wxml")) scripts[path.slice(0, -5)] = generate(path.slice(0, -5), wxml)
  }
  process.stdout.write(JSON.stringify(scripts))
}
