import { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import {
  checkReplayOptions,
  type ReplayCommandOptions,
  replayOptions,
} from '../../../src/cli/replay-options.ts'

function parse(...args: string[]): ReplayCommandOptions {
  const command = new Command().exitOverride().configureOutput({ writeErr: () => undefined })
  for (const option of replayOptions()) command.addOption(option)
  command.parse(args, { from: 'user' })
  return command.opts()
}

describe('the options of replay', () => {
  test.each([
    ['1000', 1000],
    ['500MB', 500_000_000],
    ['2GiB', 2 * 1024 ** 3],
    ['64 kib', 65_536],
  ])('a size of %s is %i bytes', (text, bytes) => {
    expect(parse('--max-repo-size', text).maxRepoSize).toBe(bytes)
  })

  test.each(['', '0', 'much', '5 parsecs', '-1', '1.5GB', '99999999GiB'])('%j is no size', (text) => {
    expect(() => parse(`--max-repo-size=${text}`)).toThrow('not a size')
  })

  test.each(['', '-5', '1e9', '99999999999999999999', 'now'])('%j is no cursor', (text) => {
    expect(() => parse(`--cursor=${text}`)).toThrow('not a number of the firehose')
  })

  test('collections are a list', () => {
    expect(parse('--collections', 'a.b.c, d.e.f,').collections).toEqual(['a.b.c', 'd.e.f'])
  })

  test.each<[string, string[]]>([
    ['a relay without a cursor', ['--source', 'relay']],
    ['a cursor without a relay', ['--cursor', '5']],
    ['an end without a relay', ['--until', '5']],
    ['a window that ends before it begins', ['--source', 'relay', '--cursor', '9', '--until', '5']],
    ['pruning by a window', ['--source', 'relay', '--cursor', '9', '--prune']],
    ['an older rev of a window', ['--source', 'relay', '--cursor', '9', '--accept-older-rev']],
  ])('%s is wrong usage, with a way on', (_, args) => {
    expect(() => checkReplayOptions(parse(...args))).toThrow(
      expect.objectContaining({ name: 'ConfigError', exitCode: 2, hint: expect.stringMatching(/.+/) }),
    )
  })

  test('what goes together passes', () => {
    for (const args of [
      [],
      ['--prune', '--accept-older-rev'],
      ['--source', 'relay', '--cursor', '9', '--until', '9'],
    ])
      expect(() => checkReplayOptions(parse(...args))).not.toThrow()
  })
})
