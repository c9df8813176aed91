import type { Database } from '../database/client.ts'
import { ownedBy } from '../database/exact.ts'
import { RestoreError } from '../errors.ts'
import type { RestoreContext } from './context.ts'

/**
 * A repo whose revision goes back: imported from an older copy, restored from its host's backup, or moved to a host
 * that serves an old one.
 *
 * The rule: the newer revision wins, wherever it was seen. What the index learnt at a later revision than the repo is
 * at now stays, whatever the repo says, because an index cannot tell a repo that went back from a host that serves an
 * old copy, and in the second case believing the repo would undo what its author did last. Such a replay earns no
 * receipt: the index does not hold what the repo holds. It is noticed after every replay, by record states later than
 * the repo's head, and ends in a RestoreError that says so; all else has been applied by then.
 *
 * Whoever knows that the repo is right as it is (its owner imported it) says so with `--accept-older-rev`: the states
 * that are ahead are set back to the repo's revision, and the repo is replayed anew. At an equal revision apply takes
 * the record that differs, so every record of the repo is then as the repo has it. Rows that the repo no longer has
 * still stay, unless `--prune` is given too; and tombstones keep the CID that was deleted.
 */
export interface AheadStates {
  count: number
  /** The latest revision among them, and a record that has it. */
  rev: string
  uri: string
}

/** The states of an account's records that are later than this revision; undefined when there are none. */
async function statesAhead(database: Database, did: string, rev: string): Promise<AheadStates | undefined> {
  const [operator, pattern] = likeOf(did)
  const answer = await database.client
    .from('record_state')
    .select('uri,rev', { count: 'exact' })
    .filter('uri', operator, pattern)
    .gt('rev', rev)
    .order('rev', { ascending: false })
    .limit(1)
  const rows: unknown = database.check(answer, { table: 'record_state' })
  const [first] = Array.isArray(rows) ? (rows as { uri: string; rev: string }[]) : []
  return first === undefined ? undefined : { count: answer.count ?? 1, rev: first.rev, uri: first.uri }
}

/**
 * Throws when the index knows of later revisions than the account's repo has. A commit that live ingestion applied
 * after the repo was read is none: the repo has it by now.
 *
 * @param rev what the replay has reached
 * @throws RestoreError
 */
export async function assertNotGoneBack(
  { production, network }: Pick<RestoreContext, 'production' | 'network'>,
  did: string,
  rev: string,
): Promise<void> {
  const ahead = await statesAhead(production, did, rev)
  if (ahead === undefined) return
  const { pdsUrl } = await network.identity.resolve(did)
  const head = await network.xrpc.getLatestCommit(pdsUrl, did)
  if (head.rev >= ahead.rev) return
  throw new RestoreError(
    `The repo of ${did} has gone back: it is at revision ${head.rev}, but the index knows ${ahead.count} records of later ones, up to ${ahead.rev} (${ahead.uri}).`,
    {
      did,
      uri: ahead.uri,
      hint: `Its PDS may serve an old copy for a while: look again later. If the repo was imported or restored and is right as it is, run "firehose-replay replay --did ${did} --accept-older-rev".`,
    },
  )
}

/**
 * Sets the states that are ahead of this revision back to it, so that a replay decides about their records. To be
 * followed by a replay of the repo as it is by then: what live ingestion applies in between is in it.
 *
 * @returns how many
 */
export async function acceptOlderRev(database: Database, did: string, rev: string): Promise<number> {
  const [operator, pattern] = likeOf(did)
  const answer = await database.client
    .from('record_state')
    .update({ rev }, { count: 'exact' })
    .filter('uri', operator, pattern)
    .gt('rev', rev)
  database.check(answer, { table: 'record_state' })
  return answer.count ?? 0
}

function likeOf(did: string): [operator: string, pattern: string] {
  const condition = ownedBy(did)
  const dot = condition.indexOf('.')
  return [condition.slice(0, dot), condition.slice(dot + 1)]
}
