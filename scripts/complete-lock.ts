/**
 * Adds to package-lock.json the optional platform packages of Biome that the registry at hand did not have. npm
 * leaves them out of the lock, and `npm ci` then refuses the lock as incomplete. Run after `npm install`.
 */

import { readFileSync, writeFileSync } from 'node:fs'

interface LockedPackage {
  version?: string
  optionalDependencies?: Record<string, string>
  [field: string]: unknown
}
interface Lock {
  packages: Record<string, LockedPackage>
}

const FILE = 'package-lock.json'
const TOOL = 'node_modules/@biomejs/biome'

const lock = JSON.parse(readFileSync(FILE, 'utf8')) as Lock
for (const name of Object.keys(lock.packages[TOOL]?.optionalDependencies ?? {})) {
  lock.packages[`node_modules/${name}`] ??= platformPackage(name)
}
const sorted = Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, 'en'))
writeFileSync(FILE, `${JSON.stringify({ ...lock, packages: Object.fromEntries(sorted) }, null, 2)}\n`)

/** @param name as `@biomejs/cli-linux-x64-musl` */
function platformPackage(name: string): LockedPackage {
  const [, os = '', cpu = '', musl] = /cli-(\w+)-(\w+?)(-musl)?$/.exec(name) ?? []
  return {
    version: lock.packages[TOOL]?.version ?? '',
    cpu: [cpu],
    dev: true,
    ...(os === 'linux' ? { libc: [musl === undefined ? 'glibc' : 'musl'] } : {}),
    license: 'MIT OR Apache-2.0',
    optional: true,
    os: [os],
    engines: { node: '>=14.21.3' },
  }
}
