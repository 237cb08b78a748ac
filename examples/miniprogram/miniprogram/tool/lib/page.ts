// What every page does around its work.

import { sentence } from "./api"

/** Runs `work` once at a time, and tells the user in one sentence what went wrong. */
export async function doing(page: WechatMiniprogram.Page.TrivialInstance, work: () => Promise<unknown>): Promise<void> {
  if (page.data.busy) return
  page.setData({ busy: true, trouble: "" })
  try {
    await work()
  } catch (error) {
    page.setData({ trouble: sentence(error) ?? "" })
  } finally {
    page.setData({ busy: false })
  }
}
