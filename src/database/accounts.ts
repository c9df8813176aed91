import { z } from 'zod'
import type { Database } from './client.ts'
import { retrying } from './retry.ts'

const PAGE = 1000

/** The DIDs of all accounts of whom the index has ever seen a record, in order, page by page. */
export async function* readAccounts(database: Database): AsyncGenerator<string[]> {
  for (let after = ''; ; ) {
    const answer = await retrying(() => database.call('firehose_replay_accounts', { after, count: PAGE }))
    const page = z.array(z.string()).parse(answer)
    const last = page.at(-1)
    if (last === undefined) return
    yield page
    after = last
  }
}
