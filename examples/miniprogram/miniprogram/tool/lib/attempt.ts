import { sentence } from './backend'

interface Shown {
  setData(data: { busy?: boolean; problem?: string; note?: string }): void
}

/** Do it, with the page's buttons off meanwhile, and say on the page what went wrong. */
export async function attempt(page: Shown, work: () => Promise<unknown>): Promise<void> {
  page.setData({ busy: true, problem: '', note: '' })
  try {
    await work()
  } catch (error) {
    page.setData({ problem: sentence(error) })
  }
  page.setData({ busy: false })
}
