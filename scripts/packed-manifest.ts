/**
 * The package.json of the tarball, around `npm pack` (npm packs the file as it lies on disk):
 *
 * - `strip` (prepack) keeps the checkout's manifest beside it and writes the packed one;
 * - `restore` (postpack) puts it back. npm leaves postpack out when packing fails or is interrupted, so `strip`
 *   first restores what an earlier run left behind;
 * - `refuse` (prepublishOnly) stops `npm publish` in the checkout: npm reads the manifest for the registry again
 *   after postpack, and users would get the development one, with its pinned Node, whatever the tarball says.
 *
 * A generated folder to pack from would need none of this, but plain `npm pack` in the checkout would then make a
 * wrong tarball without a word.
 */

import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './generate/paths.ts'

const MANIFEST = join(ROOT, 'package.json')
const KEPT = join(ROOT, 'package.json.checkout')

/**
 * Fields that are for the checkout only. The Node pinned in optionalDependencies would replace the Node of every
 * project that installs the package. `scripts` stay: npm runs `prepare` after prepack, from this file.
 */
const CHECKOUT_ONLY = ['allowScripts', 'devDependencies']
const PINNED_NODE = /^node-(linux|darwin|win)-/

function packed(manifestText: string): string {
  const manifest = JSON.parse(manifestText)
  for (const field of CHECKOUT_ONLY) delete manifest[field]
  const optional = Object.entries(manifest.optionalDependencies ?? {}).filter(
    ([name]) => !PINNED_NODE.test(name),
  )
  delete manifest.optionalDependencies
  if (optional.length > 0) manifest.optionalDependencies = Object.fromEntries(optional)
  return `${JSON.stringify(manifest, null, 2)}\n`
}

function strip(): void {
  restore()
  const text = readFileSync(MANIFEST, 'utf8')
  writeWhole(KEPT, text)
  writeWhole(MANIFEST, packed(text))
}

function restore(): void {
  if (!existsSync(KEPT)) return
  const kept = readFileSync(KEPT, 'utf8')
  const current = readFileSync(MANIFEST, 'utf8')
  if (current === kept) {
    rmSync(KEPT)
    return
  }
  if (current !== packed(kept)) {
    throw new Error(
      'package.json was edited after an interrupted `npm pack`. Merge it with package.json.checkout, which is the manifest before packing, and delete that file.',
    )
  }
  renameSync(KEPT, MANIFEST)
}

/** In one step, so that an interruption leaves either the old text or the new one. */
function writeWhole(path: string, text: string): void {
  writeFileSync(`${path}.new`, text)
  renameSync(`${path}.new`, path)
}

function refuse(): void {
  throw new Error('Publish the tarball, not the checkout: npm pack && npm publish firehose-replay-*.tgz')
}

const ACTIONS: Record<string, () => void> = { strip, restore, refuse }

const act = ACTIONS[process.argv[2] ?? '']
if (act === undefined) {
  console.error('Usage: node scripts/packed-manifest.ts strip|restore|refuse')
  process.exit(2)
}
try {
  act()
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error))
  process.exit(1)
}
