import type { Command } from 'commander'
import type { MissingBlobPolicy } from '../pds/blobs/policy.ts'
import { newBudget } from '../pds/budget.ts'
import type { ConflictPolicy } from '../pds/plan.ts'
import type { PrepareWriteOptions } from '../restore/write.ts'
import { blobsOf } from './blobs.ts'
import type { CliContext } from './context.ts'
import { pointLimitsOf } from './engine.ts'
import { collectionOption, conflictOption, exceptOption, missingBlobsOption, uriOption } from './options.ts'

/** What commands that plan a write can be told of it. */
export interface WritePlanFlags {
  onConflict: ConflictPolicy
  except?: string[]
  missingBlobs: MissingBlobPolicy
}

/** What restricts a write to a part of the snapshot. */
export interface ScopeFlags {
  uri?: string[]
  collection?: string[]
}

export function addWritePlanOptions(command: Command): Command {
  return command.addOption(conflictOption()).addOption(exceptOption()).addOption(missingBlobsOption())
}

export function addScopeOptions(command: Command): Command {
  return command.addOption(uriOption()).addOption(collectionOption())
}

/** The flags as the plan takes them; with them, where blobs may be had. */
export async function writePlanOptions(
  context: CliContext,
  did: string,
  { onConflict, except, missingBlobs, uri, collection }: WritePlanFlags & ScopeFlags,
): Promise<Pick<PrepareWriteOptions, 'onConflict' | 'except' | 'scope' | 'budget' | 'blobs'>> {
  const supplier = await blobsOf(context)
  return {
    onConflict,
    budget: newBudget(pointLimitsOf(context.config)),
    blobs: { supply: await supplier(did), policy: missingBlobs },
    ...(except && { except }),
    ...((uri || collection) && {
      scope: { ...(uri && { uris: uri }), ...(collection && { collections: collection }) },
    }),
  }
}
