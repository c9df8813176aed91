import { type Cid, ifCid } from '@atproto/lex'
import { z } from 'zod'

const cid = z.custom<Cid>((value) => value !== null && typeof value === 'object' && ifCid(value) != null)
const bytes = z.instanceof(Uint8Array)
const base = { seq: z.number().int().nonnegative(), time: z.string() }
const LEXICON = 'com.atproto.sync.subscribeRepos'

/**
 * What com.atproto.sync.subscribeRepos sends, as far as it concerns us. Our own shapes because the libraries drop
 * `prev`, which names what a delete deleted.
 */
const frameShape = z.discriminatedUnion('$type', [
  z.object({
    ...base,
    $type: z.literal(`${LEXICON}#commit`),
    repo: z.string(),
    rev: z.string(),
    commit: cid,
    blocks: bytes,
    ops: z.array(
      z.object({
        action: z.string(),
        path: z.string(),
        cid: cid.nullable().optional(),
        prev: cid.optional(),
      }),
    ),
  }),
  z.object({ ...base, $type: z.literal(`${LEXICON}#sync`), did: z.string(), rev: z.string(), blocks: bytes }),
  z.object({ ...base, $type: z.literal(`${LEXICON}#identity`), did: z.string() }),
  z.object({ ...base, $type: z.literal(`${LEXICON}#account`), did: z.string(), active: z.boolean() }),
])

export type Frame = z.infer<typeof frameShape>
export type CommitFrame = Extract<Frame, { commit: Cid }>

export const SUBSCRIBE_REPOS = LEXICON

export const isCommit = (frame: Frame): frame is CommitFrame => frame.$type === `${LEXICON}#commit`
export type SyncFrame = Extract<Frame, { $type: `${typeof LEXICON}#sync` }>
export const isSync = (frame: Frame): frame is SyncFrame => frame.$type === `${LEXICON}#sync`
export const didOf = (frame: Frame): string => ('repo' in frame ? frame.repo : frame.did)

/** A frame of a kind we know, or undefined: new kinds may come, and say nothing about records. */
export function parseFrame(value: unknown): Frame | undefined {
  return frameShape.safeParse(value).data
}
