import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigError } from '../errors.ts'

/** Where one run keeps what it knows: snapshot, plans, report. Readable by its owner only. */
export interface RunFolder {
  /** Name of the run. */
  run: string
  path: string
  snapshotPath: string
  /** Writes a JSON value, whole or not at all. */
  save(name: string, value: unknown): Promise<void>
  /** What was saved; undefined where nothing was. @throws ConfigError when the file is not what `save` writes */
  load(name: string): Promise<unknown>
  drop(name: string): Promise<void>
}

/** A new one. @param base folder of all runs. @param now when the run began: names sort by time */
export async function createRunFolder(base: string, did: string, now: Date): Promise<RunFolder> {
  const folder = runFolder(base, `${now.toISOString()}_${did}`)
  await make(folder.path)
  return folder
}

/** The folder of this name, which is made when something is saved: the same name, the same folder. */
export function runFolder(base: string, name: string): RunFolder {
  const run = name.replace(/[^\w-]/g, '-')
  const path = join(base, run)
  return {
    run,
    path,
    snapshotPath: join(path, 'user-restore-data.json'),
    async save(name, value) {
      await make(path)
      const file = join(path, name)
      await writeFile(`${file}.part`, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 })
      await rename(`${file}.part`, file)
    },
    async load(name) {
      const text = await textOf(join(path, name))
      return text === undefined ? undefined : parsed(text, join(path, name))
    },
    drop: (name) => rm(join(path, name), { force: true }),
  }
}

async function make(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 })
}

async function textOf(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

function parsed(text: string, file: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new ConfigError(`${file} is no JSON.`, { hint: 'Put it aside, then run the command again.', cause })
  }
}
