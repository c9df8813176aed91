import type { Database } from '../database/client.ts'
import { retrying } from '../database/retry.ts'
import type { AppView } from '../events.ts'

const PAGE = 1000

/**
 * The DIDs of all accounts that own rows in the tables of the appview's records, each once: those, too, that were
 * indexed by other means before there was any record state.
 */
export async function* readTableAccounts(
  database: Database,
  { handlers }: Pick<AppView, 'handlers'>,
): AsyncGenerator<string> {
  const seen = new Set<string>()
  const columns = new Map(handlers.map(({ derives: [own] }) => [`${own.table}.${own.of}`, own]))
  for (const { table, of } of columns.values()) {
    for await (const uri of readUris(database, table, of)) {
      const did = uri.split('/')[2] ?? ''
      if (!did.startsWith('did:') || seen.has(did)) continue
      seen.add(did)
      yield did
    }
  }
}

async function* readUris(database: Database, table: string, column: string): AsyncGenerator<string> {
  for (let last: string | undefined; ; ) {
    const after = last
    const rows = await retrying(async () => {
      let query = database.client.from(table).select(`uri:${column}`).not(column, 'is', null)
      if (after !== undefined) query = query.gt(column, after)
      return database.check(await query.order(column).limit(PAGE), { table })
    })
    const uris = (rows as unknown as { uri: string }[]).map(({ uri }) => uri)
    // The server may give fewer than were asked for; only an empty page is the end.
    if (uris.length === 0) return
    yield* uris
    last = uris.at(-1)
  }
}
