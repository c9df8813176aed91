import type { Command } from 'commander'
import { EXIT } from '../../errors.ts'
import type { DefineCommand } from '../command.ts'
import { openNetwork } from '../context.ts'
import { findingsOf } from '../doctor/checks.ts'
import { type Finding, LEVELS } from '../doctor/finding.ts'
import { readAll } from '../doctor/readings.ts'
import { examples, jsonOption } from '../options.ts'
import { printJson } from '../output.ts'

export const doctorCommand: DefineCommand = (program: Command, done) => {
  program
    .command('doctor')
    .description('Check databases, schema and triggers before an incident; change nothing.')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `\nThe exit code is 2 when there is a problem; warnings do not change it.\n${examples('doctor', 'doctor --json')}`,
    )
    .action(async (options: { json?: true }) => {
      const { config } = await openNetwork(options)
      const findings = findingsOf(await readAll(config))
      if (options.json) printJson({ counts: countsOf(findings), findings })
      else process.stdout.write(`${findings.map(lineOf).join('\n')}\n`)
      done(findings.some(({ level }) => level === 'problem') ? EXIT.usage : EXIT.complete)
    })
}

function countsOf(findings: readonly Finding[]): Record<string, number> {
  return Object.fromEntries(
    LEVELS.map((level) => [level, findings.filter((finding) => finding.level === level).length]),
  )
}

function lineOf({ check, level, said, todo }: Finding): string {
  return `${level.padEnd(7)}  ${check}: ${said}${todo === undefined ? '' : `. ${todo}`}`
}
