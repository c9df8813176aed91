/**
 * Whether a row that was made from another account's record may come back: what that account's repo says, asked where
 * its DID document points now.
 */
export type ConsentDecision =
  /** The record is there and says what the row says: the row comes back with the backup's columns. */
  | { consent: 'same'; cid: string; rev: string }
  /** The record is there and says something else by now: its present value goes through its handler instead. */
  | { consent: 'changed'; cid: string; rev: string }
  /** The record is not there, or its account is deactivated, taken down or deleted: the row stays away. */
  | { consent: 'withdrawn'; reason: string }
  /** Nobody could be asked. What is done then is `--unreachable`. */
  | { consent: 'unreachable'; reason: string }

/** By the AT-URI of the record that a row was made from. A URI that is not in it was not asked about. */
export type ConsentDecisions = ReadonlyMap<string, ConsentDecision>
