import type { JsonObject, RecordOutcome } from '../events.ts'
import { type Measured, measure } from './measured.ts'
import type { WriteOp } from './session.ts'
import type { Operation } from './way.ts'

/** A record to be written: the shape of the Inngest event's entries. */
export interface RecordToWrite {
  collection: string
  rkey: string
  record: JsonObject
  /**
   * CID of the one record that this may replace, as the plan saw it and its owner saved it; null: none was there.
   * Another one that came since stays. @defaultValue whatever is there, as the conflict policy says
   */
  replaces?: string | null | undefined
}

export interface RecordName {
  collection: string
  rkey: string
}

/** A record with what is known of it while it waits to be written. */
export interface Pending extends RecordToWrite, Operation {
  cid: string
  /** What the repo holds there now. */
  currentCid?: string
}

export function pendingOf(record: RecordToWrite): Pending | { reason: string } {
  const measured = measure(record.record, record)
  if ('reason' in measured) return measured
  const { cid, blockBytes } = measured
  const jsonBytes = operationBytes(record, measured)
  return { ...toWrite(record), cid, blockBytes, jsonBytes, isCreate: true }
}

/** Only what makes a record to be written. */
export function toWrite({ collection, rkey, record, replaces }: RecordToWrite): RecordToWrite {
  return { collection, rkey, record, ...(replaces === undefined ? {} : { replaces }) }
}

/** Why a record that is there now stays, whatever the conflict policy says; undefined: it need not. */
export function whyStays(
  { replaces }: Pick<RecordToWrite, 'replaces'>,
  currentCid: string | undefined,
): string | undefined {
  if (replaces === undefined || currentCid === undefined || currentCid === replaces) return undefined
  return 'another record came there since the plan was made'
}

/** The same where the repo holds `currentCid`, or nothing, under its key. */
export function against(item: Pending, currentCid: string | undefined): Pending {
  const { currentCid: _, ...rest } = item
  return currentCid === undefined ? { ...rest, isCreate: true } : { ...rest, currentCid, isCreate: false }
}

/** Length of its operation in the JSON of a request, with the comma after it. */
export function operationBytes(name: RecordName, { jsonBytes }: Measured): number {
  return Buffer.byteLength(JSON.stringify(operationOf({ ...nameOf(name), record: {} }, true))) + jsonBytes
}

export function operationOf({ collection, rkey, record }: RecordToWrite, isCreate: boolean): WriteOp {
  return isCreate
    ? { $type: 'com.atproto.repo.applyWrites#create', collection, rkey, value: record }
    : { $type: 'com.atproto.repo.applyWrites#update', collection, rkey, value: record }
}

export function nameOf({ collection, rkey }: RecordName): RecordName {
  return { collection, rkey }
}

/** Its key in the repo. */
export function pathOf({ collection, rkey }: RecordName): string {
  return `${collection}/${rkey}`
}

export function outcomeOf({ isCreate }: Pending): RecordOutcome {
  return isCreate ? 'created' : 'overwritten'
}
