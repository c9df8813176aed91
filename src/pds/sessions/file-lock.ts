import { open, rename, rm, stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * What is done under the lock is given up after 30 seconds: one that stands for longer was left by a process that was
 * killed. Waited for here and not read off the file's time, which another clock may have written.
 */
const STALE_MS = 40_000
const RETRY_MS = 25

/**
 * Runs `act` while no other process runs anything under the same lock file, whose folder must be there.
 *
 * @param staleMs after which a lock that has not changed hands is taken over. @defaultValue 40000
 */
export async function withFileLock<T>(path: string, act: () => Promise<T>, staleMs = STALE_MS): Promise<T> {
  let seen: string | undefined
  let sinceMs = 0
  while (!(await take(path))) {
    const lock = await identityOf(path)
    if (lock !== seen) sinceMs = performance.now()
    else if (performance.now() - sinceMs > staleMs) await removeStale(path)
    seen = lock
    await sleep(RETRY_MS * (1 + Math.random()))
  }
  try {
    return await act()
  } finally {
    await rm(path, { force: true })
  }
}

async function take(path: string): Promise<boolean> {
  try {
    await (await open(path, 'wx', 0o600)).close()
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}

async function identityOf(path: string): Promise<string | undefined> {
  return unlessGone(async () => {
    const { ino, mtimeMs } = await stat(path)
    return `${ino} ${mtimeMs}`
  })
}

/** Of several that have waited for it, one gets to move it away. */
async function removeStale(path: string): Promise<void> {
  const aside = `${path}.${process.pid}`
  await unlessGone(() => rename(path, aside))
  await rm(aside, { force: true })
}

async function unlessGone<T>(act: () => Promise<T>): Promise<T | undefined> {
  try {
    return await act()
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
