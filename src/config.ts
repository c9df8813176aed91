import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { leaflet } from './appview/leaflet/index.ts'
import { ConfigError, messageOf } from './errors.ts'
import type { AppView } from './events.ts'

/** One setting: a flag wins over its environment variable, that over the configuration file, that over the default. */
interface Setting {
  env: string
  /** Name of the command-line option, where there is one. Secrets have none: a command line is seen by everybody. */
  flag?: string
  about: string
  default?: string
  secret?: true
}

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
  },
  relayUrl: {
    env: 'FIREHOSE_REPLAY_RELAY_URL',
    flag: 'relay',
    about: 'relay or PDS whose firehose `consume` follows',
    default: 'wss://bsky.network',
  },
  appPassword: {
    env: 'FIREHOSE_REPLAY_APP_PASSWORD',
    about: 'app password of the account that is restored',
    secret: true,
  },
  runs: {
    env: 'FIREHOSE_REPLAY_RUNS',
    flag: 'runs',
    about: 'folder in which `restore` keeps its runs',
    default: '.firehose-replay/runs',
  },
  inngestUrl: {
    env: 'INNGEST_BASE_URL',
    flag: 'inngest-url',
    about: 'Inngest server, where it is not the cloud',
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
  },
} satisfies Record<string, Setting>

export type SettingName = keyof typeof SETTINGS

/** The settings as they are in force. Absent ones are undefined; `required` names what is missing. */
export interface Config {
  appview: AppView
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
    return flags[name] ?? (env[setting.env] || undefined) ?? file.settings?.[name] ?? setting.default
  }
  return {
    appview: file.appview ?? leaflet,
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

/** What firehose-replay.config.ts may export. */
export interface ConfigFile {
  /** Description of the appview. @defaultValue Leaflet's */
  appview?: AppView
  settings?: Partial<Record<SettingName, string>>
}

const FILE_NAMES = ['firehose-replay.config.ts', 'firehose-replay.config.js']

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
    const loaded: unknown = await import(pathToFileURL(resolve(folder, name)).href)
    const exported = (loaded as { default?: ConfigFile }).default ?? (loaded as ConfigFile)
    return exported
  } catch (error) {
    throw new ConfigError(`${name} cannot be loaded: ${messageOf(error)}`, {
      hint: 'It must be a module that exports { appview }; run it with node to see the whole error.',
      cause: error,
    })
  }
}

/** Whether whole stack traces are wanted: asked before any configuration could be loaded. */
export function isDebugging(): boolean {
  return process.env[SETTINGS.logLevel.env] === 'debug'
}
