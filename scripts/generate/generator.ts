/** One committed file that is made, wholly or in part, from something else in the repository. */
export interface Generator {
  /** The file, relative to the repository's root. */
  path: string
  /**
   * The text the file should have.
   *
   * @param current its text now, empty where there is no file: for generators that fill in a part of it.
   */
  generate(current: string): Promise<string>
}
