/** Names of the page's own types, so that its modules need no import for a type. Those of the API's answers are in `Api`. */

type Page = import("../../../ui/static/main.js").Page;
type State = import("../../../ui/static/state.js").State;
type Site = import("../../../ui/static/sites.js").Site;
type SiteState = keyof typeof import("../../../ui/static/sites.js").STATES;
type Filter = import("../../../ui/static/routes.js").Filter;
type PlanForm = typeof import("../../../ui/static/plan_request.js").EMPTY;
/** What an element may hold; null and false are left out. */
type Kid = Node | string | number | boolean | null | undefined | Kid[];
type Props = { [name: string]: string | number | boolean | null | undefined | { [name: string]: string } };
/** Kind: classes such as `primary`; why: the reason why it is not legal, which greys it; others are attributes. */
interface ButtonOptions {
  icon?: string; kind?: string; why?: string | null; data?: { [name: string]: string | number | null | undefined };
  class?: string; type?: string; title?: string; "aria-label"?: string; "aria-pressed"?: string;
}
/** What a button does: with its `data-…`, and itself. */
type Act = (page: Page, data: { [name: string]: string | undefined }, element: any) => unknown;
type Acts = { [name: string]: Act };
type Strategy = Api.CountedStrategy;
type Step = Partial<Api.HistoricStep> & Pick<Api.Step, "id" | "cloud" | "stage" | "state"> & Partial<Pick<Api.CommandedStep, "commands" | "commands-refused">>;

/** What each pane keeps while the page is open. */
interface Own {
  overview: { page?: number; sort?: [column: string, direction: string] };
  timeline: {
    past?: Api.HistoricStrategy | null; series?: Series; error?: string; isUnknown?: boolean; isReading?: boolean; readAt?: number;
    state?: string; reading?: string; cursor?: number | null; stagesOf?: Series; sitesOf?: Site[]; known?: Map<number, StageSites>;
  };
  plan: {
    form: PlanForm; groups?: Api.CountedGroup[]; releases?: Api.Release[]; found?: Api.StrategyPreview | null; fault?: string; error?: string;
    isAsking?: boolean; isCreating?: boolean; asked?: string; number?: number; timer?: number;
  };
  problems: object;
  history: {
    past?: Api.HistoricStrategy | null; steps?: Api.HistoricStep[] | null; problems?: Api.Problem[]; strategies?: Api.HistoricStrategy[];
    entries?: Api.AuditEntry[]; next?: string | null; error?: string; number?: number; seen?: string; timer?: number; choices?: Choices;
  };
  health: {
    health?: Api.Health; webhooks?: Api.CountedWebhook[]; error?: string; looked?: number; isLooking?: boolean; timer?: number;
  };
  login: { back?: string; error?: string; hasUsers?: boolean; kind?: string };
  site: {
    name: string; explanation: string; subcloud: Api.SubcloudDetail | null; runs: Api.Run[] | null; run: string; readFor: string; error: string;
    isShown?: boolean; isFull?: boolean;
  };
}
type Choices = Record<string, string>;
type StageSites = { groups: Set<string>; last: Site | null; end: string };

/** The time series of a strategy with its moments as seconds since the epoch. */
interface Series {
  id: number; hasEnded: boolean; from: number; to: number; holds: Api.SeriesHold[]; points: Point[]; stages: Stage[]; total: number;
}
type Point = { at: number; flight: number; ended: number; failed: number };
type Stage = { number: number; name: string | null; sites: number; ended: number; failed: number; from: number | null; to: number | null };
/** What charts and table of the timeline show. */
interface Course extends Series {
  eta: { p50: number; p90: number } | null; width: number | null; slots: number | null;
}
type View = ReturnType<typeof import("../../../ui/static/panes/charts.js").viewOf>;
/** An attempt as a bar: its moments as seconds since the epoch. */
type Bar = Api.Run & { queued: number; start: number | null; end: number | null; outcome: Api.RunOutcome | null };
type Scale = { begin: number; length: number; now: number };

type Query = { [name: string]: string | number | null | undefined };
interface CallOptions {
  query?: Query; body?: object; headers?: { [name: string]: string }; signal?: AbortSignal; patience?: number;
}
type StreamEvent = { event: string; id: string; data: string };
/** Who looks at the page. */
type Session = { auth: string; name: string; roles: string[]; "expires-in-s": number };
type AnswerTo<P extends string> = P extends "/ui/session" ? Session : Api.AnswerOf<P>;

/** What stands before the rows of a stage on the wall. */
type WallLabel = { stage: number; y: number; group: string; rows: number };

/** An event of the stream; what is in `data` depends on its type. */
type CloudEvent = { subject: string; time: string; data: any };
/** A module of `panes/`, as main.js tells. */
interface Pane {
  render(page: Page): Node;
  acts?: Acts;
  changed?(page: Page, field: HTMLInputElement): void;
  enter?(page: Page): void;
  rendered?(page: Page): void;
  key?(page: Page, event: KeyboardEvent): boolean;
}

/**
 * A retry of a strategy that has ended. What: the sites; which: words for them in a sentence; content: what narrows them,
 * as the API has it; then: what comes once the strategy is made.
 */
interface Retry { id: number | string; title: Kid; what: Kid; which: string; content?: object; note?: string | null; then: () => void }

type FormText = (key: keyof PlanForm, more?: Props) => HTMLElement;
type FormMenu = (key: keyof PlanForm, options: [value: string, label: string][]) => HTMLElement;
/** A stage of a rollout as a strategy shows it: that of the request, and what came of it. */
type ShownStage = Api.RolloutStage & { stage?: number; sites?: number; "passed-at"?: string | null; decision?: object | null };
