import { createProgram } from '../../src/cli/program.ts'
import { SETTINGS } from '../../src/config.ts'
import { EXIT } from '../../src/errors.ts'
import {
  COMPARISON_CLASSES,
  EVENT_OUTCOMES,
  PROOFS,
  RECORD_OUTCOMES,
  ROW_OUTCOMES,
  VERDICTS,
} from '../../src/events.ts'
import { POLICIES } from '../../src/report/report.ts'
import type { Generator } from './generator.ts'

/** The parts of the README that are made from the code, each between `<!-- generated: NAME -->` and `<!-- /generated -->`. */
const PARTS: Readonly<Record<string, () => string>> = {
  commands: commandTable,
  'exit codes': exitCodeTable,
  settings: settingTable,
  words: wordTable,
}

export const readme: Generator = {
  path: 'README.md',
  generate: async (current) =>
    current.replace(
      /(<!-- generated: ([a-z ]+) -->\n)[\s\S]*?(<!-- \/generated -->)/g,
      (_, start: string, name: string, end: string) => {
        const part = PARTS[name]
        if (part === undefined)
          throw new RangeError(`README.md asks for a generated part "${name}", which nobody makes`)
        return `${start}${part()}\n${end}`
      },
    ),
}

function commandTable(): string {
  const program = createProgram(() => undefined)
  return table(
    ['command', 'what it does'],
    program.commands.map((command) => [`\`${command.name()}\``, command.description()]),
  )
}

const EXIT_WORDS: Readonly<Record<keyof typeof EXIT, string>> = {
  complete: 'complete: everything is as it should be',
  incomplete: 'incomplete: the report says what is not back, and why',
  usage: 'wrong usage or configuration: nothing was done',
  failed: 'failed: trying again will not change it by itself',
  tryLater: 'try again later: a host or database was away, or limits requests; what is done stays done',
}

function exitCodeTable(): string {
  const names = Object.keys(EXIT) as (keyof typeof EXIT)[]
  return table(
    ['code', 'meaning'],
    names.map((name) => [`${EXIT[name]}`, EXIT_WORDS[name]]),
  )
}

function settingTable(): string {
  const rows = Object.values(SETTINGS).map((setting) => [
    `\`${setting.env}\``,
    'flag' in setting ? `\`--${setting.flag}\`` : '',
    setting.about,
    'default' in setting ? `\`${setting.default}\`` : '',
  ])
  return table(['variable', 'flag', 'what', 'default'], rows)
}

function wordTable(): string {
  return table(
    ['outcomes of', 'words'],
    [
      ['a record to be written', RECORD_OUTCOMES],
      ['an event', EVENT_OUTCOMES],
      ['a row of the snapshot', ROW_OUTCOMES],
      ['a comparison', COMPARISON_CLASSES],
      ['a difference that policy explains', POLICIES],
      ["a record's CID", PROOFS],
      ['a restore', VERDICTS],
    ].map(([what, words]) => [String(what), (words as readonly string[]).join(', ')]),
  )
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}
