import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Where one run keeps what it knows: snapshot, plans, report. Readable by its owner only. */
export interface RunFolder {
  /** Name of the run: unique, sorts by time. */
  run: string
  path: string
  snapshotPath: string
  /** Writes a JSON value beside the snapshot, whole or not at all. */
  save(name: string, value: unknown): Promise<void>
}

/** @param base folder of all runs. @param now when the run began */
export async function createRunFolder(base: string, did: string, now: Date): Promise<RunFolder> {
  const run = `${now.toISOString().replace(/[:.]/g, '-')}_${did.replace(/[^a-zA-Z0-9]/g, '-')}`
  const path = join(base, run)
  await mkdir(path, { recursive: true, mode: 0o700 })
  return {
    run,
    path,
    snapshotPath: join(path, 'user-restore-data.json'),
    async save(name, value) {
      const file = join(path, name)
      await writeFile(`${file}.part`, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 })
      await rename(`${file}.part`, file)
    },
  }
}
