/** Stub hosts for thousands of readers, in a process of their own: runs until its parent lets go of it. */

import { startStubReaders } from '../../../test/long/stub-readers.ts'
import type { ReadersReady, ReadersRequest } from './readers-process.ts'

async function serve({ count, hosts, collection, record }: ReadersRequest): Promise<ReadersReady> {
  const stub = await startStubReaders({
    count,
    hosts,
    collection,
    rkey: '3jzfcijpj2z2a',
    record,
    withdrawnEvery: count + 1,
    latencyMs: 0,
  })
  return { plcUrl: stub.plcUrl, readers: stub.readers.map(({ did, uri }) => ({ did, uri })) }
}

process.on('message', async (request: ReadersRequest) => {
  process.send?.(await serve(request))
})
process.on('disconnect', () => process.exit(0))
