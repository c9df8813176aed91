import { Option } from 'commander'
import { SETTINGS, type SettingName } from '../config.ts'

/** The settings that may be given as flags, the same for every command. */
export function settingOptions(): Option[] {
  return Object.entries(SETTINGS).flatMap(([name, setting]) => {
    if (!('flag' in setting)) return []
    const option = new Option(`--${setting.flag} <value>`, `${setting.about} (${setting.env})`)
    option.attributeName = () => name
    option.helpGroup('Settings:')
    return [option]
  })
}

/** The settings among a command's parsed options. */
export function settingsOf(options: object): Partial<Record<SettingName, string>> {
  const given: Partial<Record<string, unknown>> = { ...options }
  const names = Object.keys(SETTINGS) as SettingName[]
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = given[name]
      return typeof value === 'string' ? [[name, value]] : []
    }),
  )
}
