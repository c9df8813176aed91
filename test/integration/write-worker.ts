/** A process of its own that serves the functions, for a test that kills it. */
import { Inngest } from 'inngest'
import { createFunctions, createInngest, serveFunctions } from '../../src/inngest/index.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc } from '../../src/network/xrpc.ts'
import { appPasswordSessions } from '../../src/pds/sessions/app-password.ts'

const { PORT = '', PLC_URL = '', PDS_URL = '', PASSWORD = '', INNGEST_URL = '', CHECKPOINTING } = process.env

const fetch = createFetch({ allowLocalhost: true })
const identity = createIdentity({ plcUrl: PLC_URL, allowLocalhost: true })
const sessionProvider = appPasswordSessions(() => PASSWORD, {
  identity: { resolve: async (did) => ({ ...(await identity.resolve(did)), pdsUrl: PDS_URL }) },
  fetch,
})
const settings = { id: 'firehose-replay', baseUrl: INNGEST_URL, isDev: true }
const inngest = CHECKPOINTING === '1' ? new Inngest(settings) : createInngest(settings)
const functions = createFunctions({
  inngest,
  sessionProvider,
  network: { identity, xrpc: createXrpc({ fetch }) },
})
const { url } = await serveFunctions({ inngest, functions, port: Number(PORT) })
process.stdout.write(`${url}\n`)
