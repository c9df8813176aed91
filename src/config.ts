import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { z } from 'zod'
import { leaflet } from './appview/leaflet/index.ts'
import { ConfigError, messageOf } from './errors.ts'
import type { AppView } from './events.ts'
import type { handlerSink } from './firehose/sync-event.ts'
import { DEFAULT_POINT_LIMITS, POINTS } from './pds/budget.ts'
import type { SessionProvider } from './pds/session.ts'

/** One setting: a flag wins over its environment variable, that over the configuration file, that over the default. */
interface Setting {
  env: string
  /** Name of the command-line option, where there is one. Secrets have none: a command line is seen by everybody. */
  flag?: string
  about: string
  default?: string
  secret?: true
  /** The values it may have. @defaultValue any */
  oneOf?: readonly string[]
  /** The protocols that its URL may have; it is a URL then. */
  protocols?: readonly string[]
  /** It is a whole number, and at least this. */
  atLeast?: number
}

const HTTP = ['http:', 'https:']

/** Every setting there is; the README's table is made from it. */
export const SETTINGS = {
  productionUrl: { env: 'SUPABASE_URL', flag: 'production-url', about: "API URL of the appview's database" },
  productionKey: { env: 'SUPABASE_SERVICE_ROLE_KEY', about: 'its service role key', secret: true },
  backupUrl: { env: 'BACKUP_SUPABASE_URL', flag: 'backup-url', about: 'API URL of the restored backup' },
  backupKey: { env: 'BACKUP_SUPABASE_SERVICE_ROLE_KEY', about: 'its service role key', secret: true },
  plcUrl: {
    env: 'FIREHOSE_REPLAY_PLC_URL',
    flag: 'plc-url',
    about: 'PLC directory',
    default: 'https://plc.directory',
    protocols: HTTP,
  },
  relayUrl: {
    env: 'FIREHOSE_REPLAY_RELAY_URL',
    flag: 'relay',
    about: 'relay or PDS whose firehose `consume` follows',
    default: 'wss://bsky.network',
    protocols: ['wss:', 'ws:'],
  },
  appPassword: {
    env: 'FIREHOSE_REPLAY_APP_PASSWORD',
    about: 'app password of the account that is restored',
    secret: true,
  },
  sessions: {
    env: 'FIREHOSE_REPLAY_SESSIONS',
    flag: 'sessions',
    about: 'folder in which `login` keeps sessions (else ~/.config/firehose-replay/sessions)',
  },
  runs: {
    env: 'FIREHOSE_REPLAY_RUNS',
    flag: 'runs',
    about: 'folder in which `restore` keeps its runs',
    default: '.firehose-replay/runs',
  },
  blobFolder: {
    env: 'FIREHOSE_REPLAY_BLOB_FOLDER',
    flag: 'blob-folder',
    about: 'folder of blobs, named by their CIDs, which is looked in before the PDS is asked',
  },
  blobBucket: {
    env: 'FIREHOSE_REPLAY_BLOB_BUCKET',
    flag: 'blob-bucket',
    about: "bucket of production's Storage with blobs, as BUCKET or BUCKET/{did}/{cid}",
  },
  blobUrl: {
    env: 'FIREHOSE_REPLAY_BLOB_URL',
    flag: 'blob-url',
    about: 'URL that serves blobs, as https://HOST/{did}/{cid}',
  },
  pointsPerHour: {
    env: 'FIREHOSE_REPLAY_POINTS_PER_HOUR',
    flag: 'points-per-hour',
    about: 'points that the PDS lets an account write in an hour',
    default: String(DEFAULT_POINT_LIMITS.perHour),
    atLeast: POINTS.create,
  },
  pointsPerDay: {
    env: 'FIREHOSE_REPLAY_POINTS_PER_DAY',
    flag: 'points-per-day',
    about: 'points that the PDS lets an account write in a day',
    default: String(DEFAULT_POINT_LIMITS.perDay),
    atLeast: POINTS.create,
  },
  inngestUrl: {
    env: 'INNGEST_BASE_URL',
    flag: 'inngest-url',
    about: 'Inngest server, where it is not the cloud',
    protocols: HTTP,
  },
  inngestEventKey: { env: 'INNGEST_EVENT_KEY', about: 'key for sending events', secret: true },
  inngestSigningKey: {
    env: 'INNGEST_SIGNING_KEY',
    about: 'key that signs requests to the served functions',
    secret: true,
  },
  inngestDev: {
    env: 'INNGEST_DEV',
    about: '1: development mode, requests to the served functions are not signed',
  },
  allowLocalhost: {
    env: 'FIREHOSE_REPLAY_ALLOW_LOCALHOST',
    about: '1: PDSes and PLC directories on this machine may be asked, over http',
  },
  logLevel: {
    env: 'LOG_LEVEL',
    flag: 'log-level',
    about: 'pino level of the log on stderr',
    default: 'warn',
    oneOf: ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
  },
} satisfies Record<string, Setting>

export type SettingName = keyof typeof SETTINGS

/** What takes record events in the operator's own consumer: the `handleEvent` of @atproto/sync's Firehose. */
export type HandleEvent = Parameters<typeof handlerSink>[0]

/** The settings as they are in force. Absent ones are undefined; `required` names what is missing. */
export interface Config {
  appview: AppView
  handleEvent: HandleEvent | undefined
  sessionProvider: SessionProvider | undefined
  /** @throws ConfigError when the value is none that the setting may have */
  get(name: SettingName): string | undefined
  /** @throws ConfigError that names the flag and the variable */
  required(name: SettingName): string
  isOn(name: SettingName): boolean
}

/** @param flags by setting name; @param env such as `process.env`; @param file what the configuration file exports */
export function configFrom(
  flags: Partial<Record<SettingName, string>>,
  env: Readonly<Record<string, string | undefined>>,
  file: ConfigFile = {},
): Config {
  const get = (name: SettingName): string | undefined => {
    const setting: Setting = SETTINGS[name]
    const given = [
      { from: `--${setting.flag}`, value: flags[name] },
      // An empty variable is how a shell or a .env file says "none".
      { from: setting.env, value: env[setting.env] || undefined },
      { from: `settings.${name} of the configuration file`, value: file.settings?.[name] },
    ].find(({ value }) => value !== undefined)
    if (given?.value === undefined) return setting.default
    refuseUnfit(setting, given.from, given.value)
    return given.value
  }
  return {
    appview: file.appview ?? leaflet,
    handleEvent: file.handleEvent,
    sessionProvider: file.sessionProvider,
    get,
    required(name) {
      const value = get(name)
      if (value !== undefined) return value
      const setting: Setting = SETTINGS[name]
      throw new ConfigError(`Missing: ${setting.about}.`, {
        hint: `Set ${setting.env}${setting.flag === undefined ? '' : ` or give --${setting.flag}`}.`,
      })
    },
    isOn: (name) => ['1', 'true', 'yes'].includes(get(name) ?? ''),
  }
}

function refuseUnfit({ oneOf, protocols, atLeast }: Setting, from: string, value: string): void {
  if (atLeast !== undefined && !(/^\d{1,9}$/.test(value) && Number(value) >= atLeast)) {
    throw new ConfigError(`${from} cannot be ${JSON.stringify(value)}.`, {
      hint: `Give a whole number, ${atLeast} or more.`,
    })
  }
  if (oneOf !== undefined && !oneOf.includes(value)) {
    throw new ConfigError(`${from} cannot be ${JSON.stringify(value)}.`, {
      hint: `Give one of ${oneOf.join(', ')}.`,
    })
  }
  if (protocols === undefined) return
  if (URL.canParse(value) && protocols.includes(new URL(value).protocol)) return
  throw new ConfigError(`${from} is not a URL of the right kind: ${value}`, {
    hint: `Give one that begins with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}.`,
  })
}

/** What firehose-replay.config.ts may export, each by its name or all in a default export. */
export interface ConfigFile {
  /** Description of the appview. @defaultValue Leaflet's */
  appview?: AppView
  /**
   * The operator's own consumer code, where that is the normal way into the tables: a replay then feeds this function
   * and not our indexer. It throws what it could not store. @defaultValue our indexer, by the appview's description
   */
  handleEvent?: HandleEvent
  /**
   * Where sessions come from, such as the operator's own OAuth client, or `oauthStoreSessions`. An app password goes
   * before it. @defaultValue what `login` keeps
   */
  sessionProvider?: SessionProvider
  settings?: Partial<Record<SettingName, string>>
}

const FILE_NAMES = ['firehose-replay.config.ts', 'firehose-replay.config.js']
const EXPORTS = ['appview', 'handleEvent', 'sessionProvider', 'settings'] as const
const FILE_HINT = `It must export ${EXPORTS.join(', ')}, or some of them.`

const fileShape = z.object({
  appview: z.custom<AppView>(isDescription, 'is no description of an appview').optional(),
  handleEvent: z.custom<HandleEvent>(isFunction, 'is not a function').optional(),
  sessionProvider: z.custom<SessionProvider>(isFunction, 'is not a function').optional(),
  settings: z.partialRecord(z.enum(Object.keys(SETTINGS) as SettingName[]), z.string()).optional(),
})

/** The configuration for a command: reads the environment, and the configuration file of the working folder. */
export async function loadConfig(
  flags: Partial<Record<SettingName, string>>,
  folder = process.cwd(),
): Promise<Config> {
  return configFrom(flags, process.env, await loadFile(folder))
}

async function loadFile(folder: string): Promise<ConfigFile> {
  const name = FILE_NAMES.find((candidate) => existsSync(resolve(folder, candidate)))
  if (name === undefined) return {}
  try {
    return configFileOf(await import(pathToFileURL(resolve(folder, name)).href), name)
  } catch (error) {
    if (error instanceof ConfigError) throw error
    // The first line: Node goes on with an excerpt of the file.
    throw new ConfigError(`${name} cannot be loaded: ${messageOf(error).trim().split('\n')[0]}`, {
      hint: `Run "node ${name}" to see the whole error. ${FILE_HINT}`,
      cause: error,
    })
  }
}

/**
 * @param module namespace of the configuration file; @param name of the file, for messages
 * @throws ConfigError when it exports nothing of use, or something else under a name that we read
 */
export function configFileOf(module: object, name: string): ConfigFile {
  const exported: unknown = 'default' in module ? module.default : module
  if (typeof exported !== 'object' || exported === null || !EXPORTS.some((key) => key in exported)) {
    throw new ConfigError(`${name} exports no configuration.`, { hint: FILE_HINT })
  }
  const checked = fileShape.safeParse(exported)
  if (checked.success) return checked.data as ConfigFile
  const [issue] = checked.error.issues
  throw new ConfigError(`${name}: ${issue?.path.join('.')}: ${issue?.message}.`, { hint: FILE_HINT })
}

function isFunction(value: unknown): boolean {
  return typeof value === 'function'
}

function isDescription(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  return ['handlers', 'roots', 'sensitiveColumns', 'untouchableTables', 'guardTables'].every((key) =>
    Array.isArray((value as Record<string, unknown>)[key]),
  )
}

/** Whether whole stack traces are wanted: asked before any configuration could be loaded. */
export function isDebugging(): boolean {
  return ['debug', 'trace'].includes(process.env[SETTINGS.logLevel.env] ?? '')
}
