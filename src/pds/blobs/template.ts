import { ConfigError } from '../../errors.ts'

/** Puts CID and DID in the places of a template. Neither holds a character that a path or query would need escaped. */
export function filled(template: string, cid: string, did: string): string {
  return template.replaceAll('{cid}', cid).replaceAll('{did}', did)
}

/**
 * @param what names the template in the message, which must not quote it: a URL may hold a password or a token
 * @throws ConfigError when every blob would come from the same place
 */
export function refuseTemplate(template: string, what: string): void {
  if (template.includes('{cid}')) return
  throw new ConfigError(`${what} does not say where the CID goes.`, {
    hint: 'Write {cid} where the CID of the blob belongs, and {did} where the account does.',
  })
}
