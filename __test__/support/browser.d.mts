/** What tests use of a page. */
export interface Page {
  goto(url: string, options?: { waitUntil?: 'networkidle' }): Promise<unknown>
  click(selector: string): Promise<void>
  waitForSelector(selector: string): Promise<unknown>
  locator(selector: string): { allInnerTexts(): Promise<string[]>; count(): Promise<number> }
  close(): Promise<void>
}

export interface Browser {
  newPage(): Promise<Page>
  close(): Promise<void>
}

export function launch(executablePath: string): Promise<Browser>
