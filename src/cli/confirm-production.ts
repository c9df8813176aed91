import { ConfigError } from '../errors.ts'
import { confirmByTyping } from './output.ts'

/**
 * Asks for the name of production, unless `--yes` gives it. What is confirmed has been shown before.
 *
 * @throws ConfigError when `yes` names another database, or nobody can be asked
 */
export async function confirmProduction(
  production: { name: string },
  { yes, signal }: { yes?: string | undefined; signal: AbortSignal },
): Promise<boolean> {
  if (yes !== undefined) {
    if (yes === production.name) return true
    throw new ConfigError(`--yes names ${yes}, but production is ${production.name}.`, {
      hint: 'Check which database is configured as production, then confirm its name.',
    })
  }
  if (!process.stdin.isTTY) {
    throw new ConfigError('There is no terminal to confirm in.', {
      hint: `If the plan above is right, add --yes ${production.name}`,
    })
  }
  return confirmByTyping(`Type ${production.name} to go on:`, production.name, { signal })
}
