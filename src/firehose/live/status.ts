/** What became of a message of the firehose. */
export const FRAME_OUTCOMES = [
  /** A commit with records of ours, all of them given to the sink. */
  'handled',
  /** A commit without any. */
  'unwanted',
  /** A commit that had come before. */
  'old',
  /** A commit or sync that led to a replay of its repo. */
  'broken',
  /** A sync that says what is known. */
  'sync',
  'identity',
  'account',
  /** Of a kind that says nothing about records. */
  'other',
  /** No frame at all. */
  'unreadable',
] as const
export type FrameOutcome = (typeof FRAME_OUTCOMES)[number]

/** The consumer at this moment. Numbers only grow, unless they are sizes. */
export interface LiveStatus {
  isConnected: boolean
  receivedSeq: number | undefined
  /** All up to this one has been given to the sink. */
  handledSeq: number | undefined
  /** All up to this one is durable, parked or a dead letter, and a restart goes on behind it. */
  savedSeq: number | undefined
  /** Where the first of its runs began: to go on from as long as no cursor could be saved. */
  startedAfterSeq: number | undefined
  /** When the frame at `handledSeq` was sequenced, in milliseconds since 1970. */
  handledTimeMs: number | undefined
  /** How long after that it was handled, in milliseconds. */
  handledLagMs: number | undefined
  queuedFrames: number
  queuedBytes: number
  /** Replays under way: of broken repos, and of a gap as one. */
  replays: number
  frames: Record<FrameOutcome, number>
  /** Record events that the sink was given; an event that it rejected for good is not among them. */
  events: number
  /** Events that the sink rejected for good. */
  failedEvents: number
  unreadableRecords: number
  connections: number
  gaps: number
}

export function newLiveStatus(): LiveStatus {
  return {
    isConnected: false,
    receivedSeq: undefined,
    handledSeq: undefined,
    savedSeq: undefined,
    startedAfterSeq: undefined,
    handledTimeMs: undefined,
    handledLagMs: undefined,
    queuedFrames: 0,
    queuedBytes: 0,
    replays: 0,
    frames: Object.fromEntries(FRAME_OUTCOMES.map((outcome) => [outcome, 0])) as LiveStatus['frames'],
    events: 0,
    failedEvents: 0,
    unreadableRecords: 0,
    connections: 0,
    gaps: 0,
  }
}
