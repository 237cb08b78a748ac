// The activities of a room that this phone has seen; a real backend keeps a list for everybody.

export interface Kept {
  id: string
  title: string
}

const key = (room: string) => `activities:${room}`
const AT_MOST = 20

export function kept(room: string): Kept[] {
  return (wx.getStorageSync(key(room)) || []) as Kept[]
}

export function keep(room: string, one: Kept): void {
  const others = kept(room).filter((each) => each.id !== one.id)
  wx.setStorageSync(key(room), [one, ...others].slice(0, AT_MOST))
}
