import { Command } from 'commander'
import { expect, test } from 'vitest'
import {
  indexerTunablesOf,
  type LiveCommandOptions,
  liveOptions,
  liveTunablesOf,
} from '../../../src/cli/live-options.ts'

function parse(...args: string[]): LiveCommandOptions {
  const command = new Command().exitOverride().configureOutput({ writeErr: () => undefined })
  for (const option of liveOptions()) command.addOption(option)
  return command.parse(args, { from: 'user' }).opts()
}

test('what is given goes to the consumer or the indexer, and nothing else is set', () => {
  const options = parse('--concurrency', '8', '--save-every', '250', '--batch-events', '50')
  expect(liveTunablesOf(options)).toEqual({ concurrency: 8, saveEveryMs: 250 })
  expect(indexerTunablesOf(options)).toEqual({ maxBatchEvents: 50 })
})

test('every bound has a flag, with what it does and its default in the help', () => {
  const help = liveOptions().map(({ attributeName, description }) => [attributeName(), description])
  expect(help).toHaveLength(15)
  for (const [, description] of help) expect(description).toMatch(/ \(\d+\)$/)
})

test.each(['0', '-1', '1.5', 'many'])('%s is no bound', (value) => {
  expect(() => parse('--concurrency', value)).toThrow(/not a whole number above 0/)
})

test('a time beyond what timers hold is refused', () => {
  expect(() => parse('--replay-timeout', '3000000000')).toThrow(/more than 2000000000/)
})
