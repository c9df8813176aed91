/** Histories as they are written to a real PDS by their accounts, and how far its stream has come. */

import { consumeFirehose } from '../../src/firehose/live.ts'
import type { Identity } from '../../src/network/identity.ts'
import type { WriteOp } from '../../src/pds/session.ts'
import type { Account, Stack } from '../../src/stack/index.ts'
import { fetchAs } from './account-writes.ts'
import type { Commit, RecordWrite } from './histories.ts'

export interface WrittenRepos extends AsyncDisposable {
  accounts: readonly [Account, Account]
  /** Relay's address, as the consumer is given it. */
  service: string
  /** Deletes all records that were written here. @returns the seq behind which nothing of it is told */
  clear(): Promise<number>
  /** @returns the commit's revision */
  write(commit: Commit): Promise<string>
  /** Resolves with the commit's seq once the stream has told it. */
  seqOf(rev: string): Promise<number>
}

export async function openWrittenRepos(stack: Stack, identity: Identity): Promise<WrittenRepos> {
  const accounts = [
    await stack.createAccount('author-one.test'),
    await stack.createAccount('author-two.test'),
  ] as const
  const service = stack.pds.url.replace(/^http/, 'ws')
  const tail = followTail(service, identity)
  const standing = new Map<string, RecordWrite>()
  let newest = 0

  async function write({ did, writes }: Commit): Promise<string> {
    const account = accounts.find((one) => one.did === did)
    if (account === undefined) throw new Error(`${did} has no account`)
    const { rev } = await applyWrites(account, writes.map(writeOpOf))
    for (const one of writes) {
      if (one.kind === 'delete') standing.delete(one.uri.toString())
      else standing.set(one.uri.toString(), one)
    }
    return rev
  }

  return {
    accounts,
    service,
    write,
    async seqOf(rev) {
      newest = await tail.seqOf(rev)
      return newest
    },
    async clear() {
      const byAccount = Map.groupBy(standing.values(), ({ uri }) => uri.host)
      for (const [did, records] of byAccount) {
        const writes = records.map(
          ({ uri, record }): RecordWrite => ({
            uri,
            kind: 'delete',
            record: undefined,
            before: record,
          }),
        )
        newest = await tail.seqOf(await write({ did, writes }))
      }
      return newest
    },
    [Symbol.asyncDispose]: () => tail.stop(),
  }
}

function writeOpOf({ uri, kind, record }: RecordWrite): WriteOp {
  const { collection, rkey } = uri
  const path = { $type: `com.atproto.repo.applyWrites#${kind}`, collection, rkey }
  return (kind === 'delete' ? path : { ...path, value: record }) as WriteOp
}

async function applyWrites(account: Account, writes: readonly WriteOp[]): Promise<{ rev: string }> {
  const response = await fetchAs(account, '/xrpc/com.atproto.repo.applyWrites', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ repo: account.did, validate: false, writes }),
  })
  if (!response.ok) throw new Error(`applyWrites: ${response.status} ${await response.text()}`)
  const { commit } = (await response.json()) as { commit: { rev: string } }
  return commit
}

/** Reads all of a stream and keeps nothing but where each revision was. */
function followTail(service: string, identity: Identity) {
  const seqs = new Map<string, number>()
  const stopping = new AbortController()
  let told = Promise.withResolvers<void>()
  const running = consumeFirehose({
    service,
    identity,
    cursor: 0,
    isWanted: () => true,
    sink: {
      async handle({ rev, seq }) {
        seqs.set(rev, seq)
        told.resolve()
        told = Promise.withResolvers()
      },
      flush: async () => ({ cursor: undefined }),
    },
    saveCursor: async () => undefined,
    onBrokenRepo: async () => undefined,
    signal: stopping.signal,
  })
  // Whoever waits hears of a failure; and so does who stops it.
  running.catch(() => undefined)
  return {
    async seqOf(rev: string): Promise<number> {
      for (;;) {
        const seq = seqs.get(rev)
        if (seq !== undefined) return seq
        const ended = running.then(() => Promise.reject(new Error('the stream has ended')))
        await Promise.race([told.promise, ended])
      }
    },
    async stop() {
      stopping.abort()
      await running
    },
  }
}
