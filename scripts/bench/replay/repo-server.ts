/** One large repository, made in memory and served as a PDS does, in a process of its own until its parent lets go. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import { Readable } from 'node:stream'
import { Secp256k1Keypair } from '@atproto/crypto'
import { getFullRepo, MemoryBlockstore, Repo, WriteOpAction } from '@atproto/repo'
import type { NsidString } from '@atproto/syntax'
import { documents } from '../write/input.ts'
import { shortened } from './input.ts'

export interface RepoRequest {
  did: string
  records: number
}
export interface RepoReady {
  pdsUrl: string
  signingKey: string
}

async function serve({ did, records }: RepoRequest): Promise<RepoReady> {
  const keypair = await Secp256k1Keypair.create()
  const storage = new MemoryBlockstore()
  const writes = documents(records).map(({ collection, rkey, record }) => ({
    action: WriteOpAction.Create as const,
    collection: collection as NsidString,
    rkey,
    record: shortened(record) as never,
  }))
  const repo = await Repo.create(storage, did, keypair, writes)
  const http = createServer((request, response) => {
    if (request.url?.includes('getLatestCommit')) {
      response.end(JSON.stringify({ cid: repo.cid.toString(), rev: repo.commit.rev }))
    } else Readable.from(getFullRepo(storage, repo.cid)).pipe(response)
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const address = http.address()
  if (address === null || typeof address === 'string') throw new Error('A TCP server has no port.')
  return { pdsUrl: `http://127.0.0.1:${address.port}`, signingKey: keypair.did() }
}

process.on('message', async (request: RepoRequest) => {
  process.send?.(await serve(request))
})
process.on('disconnect', () => process.exit(0))
