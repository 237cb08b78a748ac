// The page's own words in two languages. What WeChat shows is Chinese in both, with a gloss in English.

const ZH = {
  title: "群聊模拟", skip: "跳到群聊", language: "语言", views: "页面", chat: "群聊", talk: "群聊内容",
  viewAs: "以谁的身份看", publisher: "发布者", participant: "参与者", bystander: "旁观者",
  live: "实时", connecting: "正在连接…", lost: "连接中断，正在重连…",
  cards: n => `${n} 张卡片`, members: n => `（${n}）`, somebody: "某人",
  emptyTitle: "群里还没有卡片",
  emptyText: "这里是微信的一侧：一个模拟的群，livecard 让群里的卡片始终显示真实的状态。",
  emptyOne: "打开一个活动：发布者把卡片发进群里。",
  emptyTwo: "替一位成员完成它：看每个人读到的字怎样改变。",
  emptyThree: "给微信添点麻烦，再拿走：卡片会自己追上来。",
  emptyElse: "活动也可以来自 Kafka 事件或 HTTP 接口：README 里有一条可以直接发送的。",
  openFirst: "打开第一个活动",
  noCard: "在群聊里选一张卡片", noCardText: "选中后，这里显示每个人读到什么，并可以替成员完成它。",
  newTitle: "打开一个活动", cardTitle: "标题", app: "小程序", asks: "要成员做什么",
  complete: "完成", participate: "参与", whoTakesPart: "谁参加", listed: "选定的成员", everyone: "群里所有人",
  participants: "参与的成员", deadline: "截止时间", noDeadline: "没有", soon: "2 分钟后（提前 1 分钟提醒）",
  tenMinutes: "10 分钟后（提前 2 分钟提醒）", hour: "1 小时后（提前 10 分钟提醒）",
  closeWhenComplete: "全部完成后自动结束", open: "打开并发到群里", opening: "正在打开…",
  opened: title => `已打开：${title}`, defaultTitle: "团建报名统计", nobody: "请至少选一位参与的成员。",
  noGateway: "这个模拟器不知道网关在哪里，所以这里不能打开、完成或结束活动。请改用 livecard up，"
    + "或设置 LIVECARD_SIMULATOR_GATEWAY（网关地址）和 LIVECARD_SIMULATOR_KEY_FILE（内含 API 密钥的文件）。",
  states: { 1: "进行中", 2: "即将截止", 3: "已结束" }, expired: "已过期",
  doneOf: (done, all) => `${done} / ${all} 人`, doneCount: done => `${done} 人`,
  reads: "每个人读到什么", others: "其他群成员", roleOthers: "不参与", roleEverybody: "人人参与",
  readAs: name => `${name} 读到的`, rest: n => `还有 ${n} 位参与者`,
  finish: "完成", join: "参与", finishFor: (verb, name) => `替 ${name} ${verb}`,
  onItsWay: "在路上…", done: "已完成", took: s => `${s} 秒后卡片已更新`,
  finished: (name, s) => `${name}：卡片在 ${s} 秒后更新`,
  finishAll: "替其余所有人完成", close: "结束活动", closing: "正在结束…",
  calls: n => `微信收到 ${n} 次更新`, at: "时间", state: "状态", listedThen: "列出的成员",
  repeated: n => `重复通知 ${n} 次`, lowered: n => `状态回退 ${n} 次`,
  faultsTitle: "给微信添点麻烦", faultsText: "打开一个开关，微信就开始出错；关上它，看卡片怎样追上来。",
  struck: n => `已发生 ${n} 次`, takeAway: "拿走", takeAwayRule: id => `拿走故障 ${id}`,
  faults: {
    busy: ["系统繁忙", "每次更新都回答 -1"],
    away: ["微信不可用", "每次更新都回答 HTTP 502"],
    lost: ["回答丢失", "下一次更新已生效，但连接被切断"],
    slow: ["很慢", "每次更新都要等 2 秒"],
    limit: ["超出每分钟限额", "下一次更新回答 45011，到下一分钟再试"],
  },
  tabCard: "卡片", tabNew: "打开", tabFaults: "故障", unreachable: "模拟器没有回答：它还在运行吗？",
};

const EN = {
  title: "chat simulator", skip: "Skip to the chat", language: "Language", views: "Views", chat: "Chat", talk: "The chat",
  viewAs: "Read it as", publisher: "Publisher", participant: "Participant", bystander: "Bystander",
  live: "live", connecting: "connecting…", lost: "The connection is lost, trying again…",
  cards: n => (n === 1 ? "1 card" : `${n} cards`), members: n => `(${n})`, somebody: "somebody",
  emptyTitle: "No card in this chat yet",
  emptyText: "This is WeChat's side: a simulated chat, whose cards livecard keeps true.",
  emptyOne: "Open an activity: its publisher sends a card into the chat.",
  emptyTwo: "Finish it as one of the members: see what everybody reads change.",
  emptyThree: "Give WeChat some trouble, and take it away: the card catches up by itself.",
  emptyElse: "Activities may come from Kafka or over HTTP, too: the README has an event to send.",
  openFirst: "Open a first activity",
  noCard: "Choose a card in the chat", noCardText: "Here is then what everybody reads, and you can finish as a member.",
  newTitle: "Open an activity", cardTitle: "Title", app: "Mini program", asks: "Members are asked to",
  complete: "complete it", participate: "take part", whoTakesPart: "Who takes part", listed: "Chosen members",
  everyone: "Everyone in the chat", participants: "Participants", deadline: "Deadline", noDeadline: "None",
  soon: "In 2 minutes (notice 1 minute before)", tenMinutes: "In 10 minutes (notice 2 minutes before)",
  hour: "In 1 hour (notice 10 minutes before)", closeWhenComplete: "End by itself once all are done",
  open: "Open, and send to the chat", opening: "Opening…", opened: title => `Opened: ${title}`,
  defaultTitle: "Team outing", nobody: "Choose at least one participant.",
  noGateway: "This simulator knows no gateway, so activities cannot be opened, finished or closed here. Use livecard up, "
    + "or set LIVECARD_SIMULATOR_GATEWAY (the gateway's address) and LIVECARD_SIMULATOR_KEY_FILE (a file with an API key).",
  states: { 1: "Open", 2: "Closing soon", 3: "Ended" }, expired: "expired",
  doneOf: (done, all) => `${done} of ${all} done`, doneCount: done => `${done} done`,
  reads: "What everybody reads", others: "Others in the chat", roleOthers: "take no part", roleEverybody: "everyone takes part",
  readAs: name => `as ${name} reads it`, rest: n => `${n} more participants`,
  finish: "Finish", join: "Take part", finishFor: (verb, name) => `${verb} as ${name}`,
  onItsWay: "on its way…", done: "Done", took: s => `card changed after ${s} s`,
  finished: (name, s) => `${name}: the card changed after ${s} s`,
  finishAll: "Finish as all the others", close: "Close the activity", closing: "Closing…",
  calls: n => (n === 1 ? "WeChat took 1 call" : `WeChat took ${n} calls`), at: "Time", state: "State", listedThen: "Members listed",
  repeated: n => `${n} repeated posts`, lowered: n => `turned back ${n} times`,
  faultsTitle: "Give WeChat some trouble", faultsText: "Switch a fault on, and WeChat goes wrong; switch it off, and see the card catch up.",
  struck: n => `struck ${n}×`, takeAway: "Take away", takeAwayRule: id => `Take away the fault ${id}`,
  faults: {
    busy: ["Busy", "each call is answered -1"],
    away: ["Away", "each call is answered HTTP 502"],
    lost: ["A lost answer", "the next call is applied, but the connection is cut"],
    slow: ["Slow", "each call takes 2 seconds longer"],
    limit: ["Out of quota", "the next call is answered 45011: wait for the next minute"],
  },
  tabCard: "Card", tabNew: "Open", tabFaults: "Faults", unreachable: "The simulator does not answer: does it still run?",
};

const TEXTS = { zh: ZH, en: EN };
const KEPT = "livecard.language";
const WAYS = [
  [/^(\d+)人已完成$/, "$1 completed"], [/^(\d+)人已参与$/, "$1 took part"], [/^未完成$/, "not completed"],
  [/^未参与$/, "not taken part"], [/^已完成$/, "completed"], [/^已参与$/, "took part"], [/^即将截止$/, "closing soon"],
  [/^已结束$/, "ended"], [/^你无需完成$/, "nothing for you to do"], [/^你无需参与$/, "nothing for you to do"],
  [/^(.+) 已完成 (.+) 发布的 (.+)$/, "$1 completed $3, by $2"], [/^(.+) 已参与 (.+) 发布的 (.+)$/, "$1 took part in $3, by $2"],
  [/^(.+) 发布的 (.+) 已结束$/, "$2, by $1, has ended"],
];

let language = first();

function first() {
  try {
    const kept = localStorage.getItem(KEPT);
    if (kept in TEXTS) return kept;
  } catch { /* a browser that keeps nothing */ }
  return navigator.languages.some(each => each.startsWith("zh")) ? "zh" : "en";
}

/** The text of this name in the language that was chosen; where it is a function, of these values. */
export function t(name, ...values) {
  const found = TEXTS[language][name];
  return typeof found === "function" ? found(...values) : found;
}

/** What a text of WeChat's means, empty where the reader reads Chinese. */
export function gloss(text) {
  if (language === "zh") return "";
  const way = WAYS.find(([form]) => form.test(text));
  return way ? text.replace(...way) : "";
}

export function time(us) {
  return new Date(us / 1000).toLocaleTimeString(language === "zh" ? "zh-CN" : "en-GB", { hour12: false });
}

/** Write every fixed text of the page anew, and remember the choice. */
export function speak(chosen = language) {
  language = chosen;
  try { localStorage.setItem(KEPT, language); } catch { /* it is asked again next time */ }
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = `livecard · ${t("title")}`;
  for (const each of document.querySelectorAll("[data-t]")) each.textContent = t(each.dataset.t);
  for (const each of document.querySelectorAll("[data-label]")) each.setAttribute("aria-label", t(each.dataset.label));
  for (const each of document.querySelectorAll("[data-language]"))
    each.setAttribute("aria-pressed", String(each.dataset.language === language));
}
