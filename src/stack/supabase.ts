import { randomBytes } from 'node:crypto'
import { createAdaptorServer } from '@hono/node-server'
import { App } from '@supabase/lite'
import { assemble } from './cleanup.ts'
import { listenOnLoopback } from './listen.ts'
import { openLiteConnection } from './lite-connection.ts'
import { dropErrorOutput } from './quiet.ts'

export interface SupabaseApi {
  /** Base URL, for createClient. */
  url: string
  /** Acts as service_role, past row-level security. */
  serviceKey: string
  /** Acts as anon. */
  anonKey: string
}

/**
 * Supabase Lite in front of a database, on a free port of 127.0.0.1: any key but the two is answered with 401, and
 * row-level security is PostgreSQL's own.
 *
 * The database must have its tables and functions already: Lite reads them once, at its first request.
 *
 * @param databaseUrl of a role that is no superuser and may become anon and service_role
 */
export function startSupabase(databaseUrl: string): Promise<SupabaseApi & AsyncDisposable> {
  return assemble(async (cleanup) => {
    const serviceKey = `sb_secret_${randomBytes(16).toString('hex')}`
    const anonKey = `sb_publishable_${randomBytes(16).toString('hex')}`
    const connection = openLiteConnection(databaseUrl)
    cleanup.defer(() => connection.close())
    const app = new App({
      connection,
      auth: { enabled: false },
      storage: { enabled: false },
      options: { server: { disableStudio: true, apiKeys: { resolver: keyResolver(serviceKey, anonKey) } } },
    })
    await app.init()
    const quietly = dropErrorOutput(cleanup)
    const server = createAdaptorServer({
      fetch: (request) => quietly(() => app.fetch(request)),
      // It replaces the global Request and Response otherwise, for everybody in this process.
      overrideGlobalObjects: false,
    })
    const port = await listenOnLoopback(server, cleanup)
    return { url: `http://127.0.0.1:${port}`, serviceKey, anonKey }
  })
}

function keyResolver(serviceKey: string, anonKey: string) {
  return async (key: string) => {
    if (key === serviceKey) return { type: 'secret' as const, claims: { role: 'service_role' } }
    if (key === anonKey) return { type: 'publishable' as const, claims: { role: 'anon' } }
    return null
  }
}
