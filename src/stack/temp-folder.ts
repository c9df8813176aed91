import { rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface TempFolder extends AsyncDisposable {
  path: string
}

/** A folder of its own under the system's temporary folder, gone on disposal and also when the process exits first. */
export async function makeTempFolder(): Promise<TempFolder> {
  const path = await mkdtemp(join(tmpdir(), 'firehose-replay-stack-'))
  const options = { recursive: true, force: true, maxRetries: 5, retryDelay: 50 }
  const removeOnExit = () => rmSync(path, options)
  process.once('exit', removeOnExit)
  return {
    path,
    async [Symbol.asyncDispose]() {
      await rm(path, options)
      process.removeListener('exit', removeOnExit)
    },
  }
}
