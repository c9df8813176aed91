import { type Cid, ifCid } from '@atproto/lex'
import { isValidDid, isValidTid } from '@atproto/syntax'
import { z } from 'zod'

const cid = z.custom<Cid>((value) => value !== null && typeof value === 'object' && ifCid(value) != null)
const bytes = z.instanceof(Uint8Array)
/** Becomes part of keys and conditions of the database, where any text would be too long, or mean more than itself. */
const did = z.string().refine(isValidDid)
/** A TID, and strictly so: as text it decides what is newer, and it becomes part of keys. */
const rev = z.string().refine(isValidTid)
/** Where no commit can be read, nothing else shows it. */
const unprovenRev = z.string().refine(isValidTid).catch('')
const base = { seq: z.number().int().nonnegative(), time: z.string() }
const LEXICON = 'com.atproto.sync.subscribeRepos'

/** Some relays write null for what they leave out. */
function orUndefined<T>(value: T | null | undefined): T | undefined {
  return value ?? undefined
}

/**
 * What com.atproto.sync.subscribeRepos sends, as far as it concerns us. Our own shapes because the libraries drop
 * `prev`, which names what a delete deleted.
 */
const frameShape = z.discriminatedUnion('$type', [
  z.object({
    ...base,
    $type: z.literal(`${LEXICON}#commit`),
    repo: did,
    rev,
    /** rev of the repo's commit before this one. */
    since: z.string().nullish().transform(orUndefined),
    commit: cid,
    /** Root of the tree before this commit. */
    prevData: cid.nullish().transform(orUndefined),
    /** Of the time before Sync 1.1: the commit's blocks and ops were left out. */
    tooBig: z.boolean().nullish().transform(orUndefined),
    blocks: bytes,
    ops: z.array(
      z.object({
        action: z.string(),
        path: z.string(),
        cid: cid.nullish(),
        prev: cid.nullish().transform(orUndefined),
      }),
    ),
  }),
  z.object({ ...base, $type: z.literal(`${LEXICON}#sync`), did, rev, blocks: bytes }),
  z.object({ ...base, $type: z.literal(`${LEXICON}#identity`), did }),
  z.object({
    ...base,
    $type: z.literal(`${LEXICON}#account`),
    did,
    active: z.boolean(),
    /** Why it is not active, as `deleted`, `takendown`, `suspended` or `deactivated`; hosts may add words. */
    status: z.string().nullish().transform(orUndefined),
  }),
])

/** What must be readable of a frame that says something about records, whatever else is wrong with it. */
const unreadableShape = z
  .object({
    ...base,
    time: z.string().catch(''),
    $type: z.enum([`${LEXICON}#commit`, `${LEXICON}#sync`]),
    did,
    rev: unprovenRev,
  })
  .transform(({ seq, time, did, rev }) => ({ $type: 'unreadable' as const, seq, time, did, rev }))

/** A commit or sync that is not as the lexicon has it: its repo is known, what happened to its records is not. */
export type UnreadableFrame = z.infer<typeof unreadableShape>
export type Frame = z.infer<typeof frameShape> | UnreadableFrame
export type CommitFrame = Extract<Frame, { commit: Cid }>

export const SUBSCRIBE_REPOS = LEXICON

export const isCommit = (frame: Frame): frame is CommitFrame => frame.$type === `${LEXICON}#commit`
export type SyncFrame = Extract<Frame, { $type: `${typeof LEXICON}#sync` }>
export const isSync = (frame: Frame): frame is SyncFrame => frame.$type === `${LEXICON}#sync`
export type AccountFrame = Extract<Frame, { active: boolean }>
export const isAccount = (frame: Frame): frame is AccountFrame => frame.$type === `${LEXICON}#account`
export const isUnreadable = (frame: Frame): frame is UnreadableFrame => frame.$type === 'unreadable'
export const didOf = (frame: Frame): string => ('repo' in frame ? frame.repo : frame.did)

/** A frame of a kind we know, or undefined: new kinds may come, and say nothing about records. */
export function parseFrame(value: unknown): Frame | undefined {
  const frame = frameShape.safeParse(value).data
  if (frame !== undefined || value === null || typeof value !== 'object') return frame
  return unreadableShape.safeParse('repo' in value ? { ...value, did: value.repo } : value).data
}
