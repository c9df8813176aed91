/** OAuth scopes of atproto, as far as writing records and blobs goes (https://atproto.com/specs/permission). */

/** What is about to be written. */
export interface Needs {
  collections?: readonly string[]
  /** Blobs are to be uploaded, of whatever kind. */
  blobs?: boolean
}

/**
 * The least that a restore does with: all three actions on the records of these collections, since an undo deletes,
 * and blobs of any kind. Each collection is named: a PDS drops partial wildcards in silence.
 */
export function restoreScope(collections: readonly string[]): string {
  const named = [...new Set(collections)].sort().map((collection) => `collection=${collection}`)
  return `atproto repo?${named.join('&')} blob:*/*`
}

/** A restore creates and overwrites; putRecord asks for both. */
const WRITE_ACTIONS = ['create', 'update'] as const
const ALL_ACTIONS: readonly string[] = ['create', 'update', 'delete']

/**
 * What `granted` lacks of the needs, each as the scope that would grant it. Empty as well where it names a permission
 * set (`include:`) that only the host can look into.
 */
export function missingScopes(granted: string, { collections = [], blobs = false }: Needs): string[] {
  const scopes = granted.split(' ').map(parseScope)
  if (scopes.some(({ name, value }) => name === 'include' || (name === 'transition' && value === 'generic')))
    return []
  const mayWrite = (collection: string): boolean =>
    WRITE_ACTIONS.every((action) =>
      scopes.some((scope) => scope.name === 'repo' && allowsWrite(scope, collection, action)),
    )
  const missing = [...new Set(collections)]
    .filter((collection) => !mayWrite(collection))
    .map((name) => `repo:${name}`)
  const mayUpload = scopes.some(({ name, value, params }) => name === 'blob' && takesAll(value, params))
  return blobs && !mayUpload ? [...missing, 'blob:*/*'] : missing
}

interface Scope {
  name: string
  value: string | undefined
  params: URLSearchParams
}

/** `repo:NSID?action=create` or `repo?collection=NSID&action=create`. */
function parseScope(text: string): Scope {
  const [head = '', query = ''] = text.split('?', 2)
  const colon = head.indexOf(':')
  return {
    name: colon === -1 ? head : head.slice(0, colon),
    value: colon === -1 ? undefined : decodeURIComponent(head.slice(colon + 1)),
    params: new URLSearchParams(query),
  }
}

function allowsWrite({ value, params }: Scope, collection: string, action: string): boolean {
  const collections = value === undefined ? params.getAll('collection') : [value]
  const actions = params.has('action') ? params.getAll('action') : ALL_ACTIONS
  return (collections.includes('*') || collections.includes(collection)) && actions.includes(action)
}

function takesAll(value: string | undefined, params: URLSearchParams): boolean {
  return value === undefined ? params.getAll('accept').includes('*/*') : value === '*/*'
}
