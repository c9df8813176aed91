import { type Logger, pino } from 'pino'

export type { Logger }

/** Field names whose values are secrets wherever they turn up in a logged object (invariant 9). */
const SECRET_FIELDS = [
  'password',
  'appPassword',
  'accessJwt',
  'refreshJwt',
  'serviceKey',
  'signingKey',
  'eventKey',
  'authorization',
  'apikey',
]

/**
 * JSON lines on stderr: stdout belongs to a command's data.
 *
 * @param level pino level name. @defaultValue 'info'
 */
export function createLogger(level = 'info'): Logger {
  const paths = SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.*.${field}`])
  return pino(
    { level, base: null, redact: { paths, censor: '[redacted]' } },
    pino.destination({ fd: 2, sync: true }),
  )
}

/** Logs nothing: the default of library calls that were given no logger. */
export const silentLogger: Logger = pino({ level: 'silent' })
