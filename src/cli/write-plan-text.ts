import type { PlannedRecord, WritePlan } from '../pds/plan.ts'
import { durationText } from '../pds/way.ts'
import type { Engine } from './engine.ts'
import { say } from './output.ts'

/** The plan in a few lines, then what needs attention by name. */
export function sayWritePlan(plan: WritePlan, engine: Engine['engine']): void {
  for (const line of writePlanLines(plan)) say(line)
  if (engine === 'inngest' && (plan.blobs?.counts.upload ?? 0) > 0)
    say(
      'The app that serves the functions uploads the blobs: it needs the same sources of them as this command.',
    )
}

/** @returns a line each; what needs attention stands last, since that is what is seen */
function writePlanLines(plan: WritePlan): string[] {
  return [...summaryLines(plan), ...plan.records.flatMap(recordLines)]
}

function summaryLines({
  did,
  counts,
  bytes,
  records,
  commits,
  points,
  estimateMs,
  why,
  ...plan
}: WritePlan): string[] {
  const lines = [
    `To the repo of ${did}: ${counts.create} to create, ${counts.overwrite} to overwrite (${kibibytes(bytes)}), ${counts.same} there already, ${counts.keep} kept, ${counts.refuse} refused.`,
  ]
  if (plan.scope !== undefined)
    lines.push(`Of the snapshot, ${plan.scope.leftOut} records are left out as asked.`)
  if (commits > 0) {
    const many = commits === 1 ? '1 commit' : `${commits} commits`
    lines.push(
      `In ${many}, for ${points} points of the rate limit, in about ${durationText(estimateMs)}: ${why}.`,
    )
  }
  if (plan.blobs !== undefined) lines.push(...blobLines(plan.blobs))
  const countOf = (proof: PlannedRecord['proof']) => records.filter((record) => record.proof === proof).length
  const { tombstone, 'strong-reference': reference, repo } = plan.provenBy
  lines.push(
    `CIDs: ${countOf('proven')} of ${records.length} are proven (${tombstone} by the delete that took the record, ${reference} by another record that refers to it, ${repo} by the repo), ${countOf('self-consistent')} have nothing to be held against, ${countOf('different')} are different.`,
  )
  return lines
}

function blobLines({ counts, uploadBytes, uploadDays, missing }: NonNullable<WritePlan['blobs']>): string[] {
  if (counts.served + counts.upload + counts.missing === 0) return []
  const days = uploadDays > 1 ? ` over ${uploadDays} days, at the host's limit` : ''
  return [
    `Blobs: ${counts.served} are with the PDS, ${counts.upload} to upload (${kibibytes(uploadBytes)})${days}, ${counts.missing} cannot be had.`,
    ...missing.map(({ cid, mimeType, reason, uris }) => {
      const needed = uris.length === 1 ? uris[0] : `${uris.length} records, as ${uris[0]}`
      return `missing blob: ${cid} (${mimeType}): ${reason}; needed by ${needed}`
    }),
  ]
}

function recordLines({ uri, action, reason, proof, differs, warning, ...record }: PlannedRecord): string[] {
  const lines: string[] = []
  if (action === 'overwrite') {
    lines.push(
      `overwrite: ${uri} (${record.currentBytes ?? '?'} bytes there now; leave it with --except ${uri})`,
    )
  }
  if (action === 'keep' || action === 'refuse') lines.push(`${action}: ${uri}: ${reason}`)
  if (action === 'create' && proof === 'different') {
    lines.push(`different: ${uri}: ${differs ?? 'its CID will not be the one that was deleted'}`)
  }
  if (warning !== undefined) lines.push(`warning: ${uri}: ${warning}`)
  return lines
}

function kibibytes(bytes: number): string {
  return `${Math.ceil(bytes / 1024)} KiB`
}
