#!/usr/bin/env node
// No static imports: what they import may not even parse on an older Node, and the message below must come first.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 22 || (major === 22 && minor < 18)) {
  process.stderr.write(
    `firehose-replay needs Node 22.18 or newer; this is ${process.version}.\nInstall a current Node, or run it through "npx -p node@22 -p firehose-replay firehose-replay".\n`,
  )
  process.exit(2)
}
// What V8 compiled is kept in the temporary folder: half of a short command's time is compiling.
process.getBuiltinModule('node:module').enableCompileCache()
const { main } = await import('./program.ts')
await main(process.argv.slice(2))

export {}
