import { describe, expect, test } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import { configFileOf, configFrom, SETTINGS } from '../../src/config.ts'
import { ConfigError } from '../../src/errors.ts'

const FILE = 'firehose-replay.config.ts'

/** The error that `act` must throw, as the operator sees it. */
function refusal(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    if (error instanceof ConfigError) return `${error.message} ${error.hint}`
    throw error
  }
  throw new Error('nothing was refused')
}

describe('a setting', () => {
  const file = { settings: { plcUrl: 'https://file.example' } }
  const env = { FIREHOSE_REPLAY_PLC_URL: 'https://env.example' }

  test('is taken from the flag, then the environment, then the file, then the default', () => {
    expect(configFrom({ plcUrl: 'https://flag.example' }, env, file).get('plcUrl')).toBe(
      'https://flag.example',
    )
    expect(configFrom({}, env, file).get('plcUrl')).toBe('https://env.example')
    expect(configFrom({}, {}, file).get('plcUrl')).toBe('https://file.example')
    expect(configFrom({}, {}).get('plcUrl')).toBe(SETTINGS.plcUrl.default)
  })

  test('that is an empty variable is not set', () => {
    expect(configFrom({}, { FIREHOSE_REPLAY_PLC_URL: '' }, file).get('plcUrl')).toBe('https://file.example')
    expect(configFrom({}, { SUPABASE_URL: '' }).get('productionUrl')).toBeUndefined()
  })

  test('that is missing is named with its variable and its flag; a secret has no flag', () => {
    const { required } = configFrom({}, {})
    expect(refusal(() => required('productionUrl'))).toBe(
      "Missing: API URL of the appview's database. Set SUPABASE_URL or give --production-url.",
    )
    expect(refusal(() => required('productionKey'))).toContain('Set SUPABASE_SERVICE_ROLE_KEY.')
  })

  test('that cannot be is named by where it came from', () => {
    const relay = (flags: object, environment: object, settings: object) =>
      refusal(() => configFrom(flags, { ...environment }, { settings }).get('relayUrl'))
    expect(relay({ relayUrl: 'x' }, {}, {})).toContain('--relay is not a URL of the right kind: x')
    expect(relay({}, { FIREHOSE_REPLAY_RELAY_URL: 'https://x' }, {})).toBe(
      'FIREHOSE_REPLAY_RELAY_URL is not a URL of the right kind: https://x Give one that begins with wss:// or ws://.',
    )
    expect(relay({}, {}, { relayUrl: '' })).toContain('settings.relayUrl of the configuration file')
    expect(refusal(() => configFrom({}, { LOG_LEVEL: 'loud' }).get('logLevel'))).toContain(
      'LOG_LEVEL cannot be "loud".',
    )
  })

  test.each(Object.entries(SETTINGS))('%s: its default is one that it can have', (name, setting) => {
    const fallback = 'default' in setting ? setting.default : undefined
    if (fallback === undefined) return
    const { get } = configFrom({ [name]: fallback }, {})
    expect(get(name as keyof typeof SETTINGS)).toBe(fallback)
  })

  test.each([
    ['1', true],
    ['true', true],
    ['0', false],
    ['', false],
    [undefined, false],
  ])('%j switches on: %s', (value, isOn) => {
    expect(configFrom({}, { FIREHOSE_REPLAY_ALLOW_LOCALHOST: value }).isOn('allowLocalhost')).toBe(isOn)
  })
})

describe('the configuration file', () => {
  const handleEvent = () => undefined

  test('exports by name or as its default', () => {
    expect(configFileOf({ appview: leaflet, handleEvent, other: 1 }, FILE)).toEqual({
      appview: leaflet,
      handleEvent,
    })
    expect(configFileOf({ default: { settings: { runs: 'runs' } } }, FILE)).toEqual({
      settings: { runs: 'runs' },
    })
  })

  test('is in force', () => {
    const appview = { ...leaflet, name: 'other' }
    expect(configFrom({}, {}, { appview, handleEvent })).toMatchObject({ appview, handleEvent })
    expect(configFrom({}, {})).toMatchObject({ appview: leaflet, handleEvent: undefined })
  })

  test.each([
    [{}, 'exports no configuration.'],
    [{ default: leaflet }, 'exports no configuration.'],
    [{ default: 3 }, 'exports no configuration.'],
    [{ appview: { name: 'x' } }, 'appview: is no description of an appview.'],
    [{ handleEvent: 'x' }, 'handleEvent: is not a function.'],
    [{ settings: { supabaseUrl: 'x' } }, 'settings'],
    [{ settings: { runs: 3 } }, 'settings.runs'],
  ])('%j is refused', (module, said) => {
    const text = refusal(() => configFileOf(module, FILE))
    expect(text).toMatch(new RegExp(`^${FILE}`))
    expect(text).toContain(said)
    expect(text).toContain('It must export appview, handleEvent, sessionProvider, settings')
  })
})
