import { type Command, Option } from 'commander'
import { ConfigError } from '../errors.ts'
import {
  type ConsentCounts,
  type ConsentPolicy,
  UNREACHABLE_POLICIES,
  type UnreachablePolicy,
  withdrawnText,
} from '../restore/consent.ts'
import { confirmByTyping, say } from './output.ts'

export interface ConsentFlags {
  trustBackup?: true
  unreachable?: UnreachablePolicy
  acceptWithdrawn?: true
}

export function addConsentOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--unreachable <policy>', "rows of other accounts' records that nobody answers for")
        .choices(UNREACHABLE_POLICIES)
        .default('restore'),
    )
    .addOption(
      new Option(
        '--trust-backup',
        'bring the rows of others back without asking whether their records still stand; they count as unverified',
      ).conflicts('acceptWithdrawn'),
    )
    .addOption(
      new Option(
        '--accept-withdrawn',
        "go on although more than a tenth of other accounts' records are withdrawn",
      ),
    )
}

export function consentPolicyOf(flags: ConsentFlags, signal?: AbortSignal): ConsentPolicy {
  const { trustBackup, unreachable, acceptWithdrawn } = flags
  return {
    ...(trustBackup && { trustBackup }),
    ...(unreachable && { unreachable }),
    ...(signal && { signal }),
    async acceptWithdrawn(share) {
      say(withdrawnText(share))
      if (acceptWithdrawn) return true
      if (!process.stdin.isTTY) {
        throw new ConfigError('There is no terminal to confirm that these records stay away.', {
          hint: 'No row was brought back. If the accounts are really gone, add --accept-withdrawn; what was done before stays done.',
        })
      }
      const end = signal ?? new AbortController().signal
      return confirmByTyping('Type withdrawn to leave them away and go on:', 'withdrawn', { signal: end })
    },
  }
}

export function sayConsent({ asked, same, changed, withdrawn, unreachable }: ConsentCounts): void {
  if (asked === 0) return
  say(
    `${asked} records of other accounts asked for: ${same} there as before, ${changed} changed since, ` +
      `${withdrawn} withdrawn, ${unreachable} without an answer.`,
  )
}
