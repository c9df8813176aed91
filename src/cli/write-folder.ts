import { z } from 'zod'
import type { Snapshot } from '../backup/snapshot.ts'
import { ConfigError, shouldRetry } from '../errors.ts'
import { REFUSALS } from '../events.ts'
import { newAttempt, type WriteAttempt } from '../inngest/index.ts'
import { MISSING_BLOB_POLICIES } from '../pds/blobs/policy.ts'
import { CONFLICT_POLICIES } from '../pds/plan.ts'
import type { NotWritten } from '../restore/context.ts'
import { type RunFolder, runFolder } from '../restore/run-folder.ts'
import type { PreparedWrite } from '../restore/write.ts'
import type { CliContext } from './context.ts'
import { InterruptedError } from './interrupt.ts'
import type { WritePlanFlags } from './write-plan.ts'

/** The folder of all writes of one snapshot: a later one goes on from an earlier one. */
export function writeFolderOf({ config }: Pick<CliContext, 'config'>, { did, meta }: Snapshot): RunFolder {
  return runFolder(config.required('runs'), `write_${did}_${meta.extractedAt}`)
}

/**
 * Keeps what is about to be overwritten, beside what earlier writes overwrote.
 *
 * @returns the file; undefined where nothing is overwritten
 */
export async function keepOverwritten(
  folder: RunFolder,
  { overwritten }: PreparedWrite,
  now: Date,
): Promise<string | undefined> {
  if (overwritten.length === 0) return undefined
  const name = `overwritten-records_${now.toISOString().replace(/[:.]/g, '-')}.json`
  await folder.save(name, overwritten)
  return `${folder.path}/${name}`
}

const attemptSchema = z.object({ id: z.string().min(1), startedAtMs: z.number() })
const ATTEMPT = 'attempt.json'

/**
 * Has the same attempt used again for as long as it is not known how it ended: an interrupted write then finds the
 * run in Inngest that still lives, and starts no second one beside it.
 */
export async function withAttempt<T>(
  folder: RunFolder,
  act: (attempt: WriteAttempt) => Promise<T>,
): Promise<T> {
  const kept = attemptSchema.safeParse(await folder.load(ATTEMPT))
  const attempt = kept.success ? kept.data : newAttempt()
  await folder.save(ATTEMPT, attempt)
  try {
    const result = await act(attempt)
    await folder.drop(ATTEMPT)
    return result
  } catch (error) {
    if (!shouldRetry(error) && !(error instanceof InterruptedError)) await folder.drop(ATTEMPT)
    throw error
  }
}

const writtenSchema = z.object({
  flags: z.object({
    onConflict: z.enum(CONFLICT_POLICIES),
    except: z.array(z.string()).optional(),
    missingBlobs: z.enum(MISSING_BLOB_POLICIES),
  }),
  notWritten: z.array(
    z.object({
      uri: z.string(),
      outcome: z.enum(['kept', 'refused', 'failed']),
      refusal: z.enum(REFUSALS).optional(),
      reason: z.string(),
    }),
  ),
})
const WRITTEN = 'write.json'

/** What the last write of a snapshot was told, and what it could not write: the commands after it go by that. */
export interface LastWrite {
  flags: WritePlanFlags
  notWritten: NotWritten[]
}

export function keepWritten(folder: RunFolder, { flags, notWritten }: LastWrite): Promise<void> {
  const { onConflict, except, missingBlobs } = flags
  return folder.save(WRITTEN, { flags: { onConflict, except, missingBlobs }, notWritten })
}

/** Undefined: there was none, or none from here. @throws ConfigError when its file is not ours */
export async function lastWriteOf(folder: RunFolder): Promise<LastWrite | undefined> {
  const saved = await folder.load(WRITTEN)
  if (saved === undefined) return undefined
  const checked = writtenSchema.safeParse(saved)
  if (!checked.success) {
    throw new ConfigError(`${folder.path}/${WRITTEN} is not what \`write\` keeps there.`, {
      hint: 'Put it aside, then run the command again.',
    })
  }
  const { flags, notWritten } = checked.data
  const { onConflict, except, missingBlobs } = flags
  return {
    flags: { onConflict, missingBlobs, ...(except && { except }) },
    notWritten: notWritten.map(({ refusal, ...rest }) => ({ ...rest, ...(refusal && { refusal }) })),
  }
}
