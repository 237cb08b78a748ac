/** The card's own page, as wx.shareAppMessageToGroup wants it: whole, beginning with a slash. */
export const ACTIVITY = '/tool/pages/activity/activity'
export const LIST = '/tool/pages/list/list'

export const activityPath = (id: string) => `${ACTIVITY}?id=${encodeURIComponent(id)}`
