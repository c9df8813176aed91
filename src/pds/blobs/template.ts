import { ConfigError } from '../../errors.ts'

/** Puts CID and DID in the places of a template. Neither holds a character that a path or query would need escaped. */
export function filled(template: string, cid: string, did: string): string {
  return template.replaceAll('{cid}', cid).replaceAll('{did}', did)
}

/** @throws ConfigError when every blob would come from the same place */
export function refuseTemplate(template: string): void {
  if (template.includes('{cid}')) return
  throw new ConfigError(`${template} does not say where the CID goes.`, {
    hint: 'Write {cid} where the CID of the blob belongs, and {did} where the account does.',
  })
}
