// How names, numbers and times are written. It needs nothing of the console, so that all of it can use this.

export const words = {
  /** The language of numbers and of relative times. */
  language: 'en',
  /** Dates with the day first. */
  dates: 'en-GB',
  now: 'just now',
  soon: 'in a moment',
  every: {
    day: (n: number) => (n === 1 ? 'every day' : `every ${n} days`),
    hour: (n: number) => (n === 1 ? 'every hour' : `every ${n} hours`),
    minute: (n: number) => (n === 1 ? 'every minute' : `every ${n} minutes`),
  },
  byItsRun: 'By its run',
  unknown: 'Unknown',
  platforms: { LINUX: 'Linux', WINDOWS_SERVER: 'Windows server', WINDOWS_CLIENT: 'Windows client' } as Record<string, string>,
  consistencies: { CRASH: 'As after a power cut', FILE_SYSTEM: 'File systems frozen' } as Record<string, string>,
  unanswered: 'The service does not answer. It is asked again as soon as it can be reached.',
  answered: (status: number) => `The service answered with status ${status}.`,
} as const;
